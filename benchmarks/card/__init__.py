"""Parts of benchmarks/gpu.py and benchmarks/gpu_figure.py, which need few packages."""
