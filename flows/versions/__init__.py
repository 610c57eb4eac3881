"""What DVC and git keep of this project and its earlier versions, read and checked."""
