"""Everything that runs through DVC: its graph, one stage, an experiment, and that no process outlives its run."""
