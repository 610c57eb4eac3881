"""The commands of `understudy`, one module each or for several of a kind; flows.cli lists them."""
