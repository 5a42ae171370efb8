"""Python imports this at its start: every process of a run, workers too, has the pretended GPU."""

import pretended_gpu

pretended_gpu.install()
