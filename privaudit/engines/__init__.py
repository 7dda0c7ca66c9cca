"""Where work that fills a process runs: behind one interface, so that a cluster can take the place of this machine."""
