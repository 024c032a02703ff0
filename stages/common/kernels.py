"""Which kernels compute a result: those that this project chooses, not those that the machine would.

Libraries look at the processor (its instruction sets, caches, cores) and at the environment, and take other kernels
accordingly. These add up in another order, so last bits differ, and ten epochs amplify that. With the choices below,
data, models and predictions are the same bytes on any x86-64 processor with AVX2, under Linux.
"""

import os
import platform
import re
from pathlib import Path
from typing import Literal

Kernels = Literal["portable", "native"]

# Libraries read these when they are imported, or at their first operation
FIXED = {
    # NumPy's exp, log and sort are other functions where AVX2 or AVX-512 is there
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    # OpenBLAS, NumPy's linear algebra, has kernels for each family of processors; Haswell was the first with AVX2
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "KERAS_BACKEND": "tensorflow",
    # TensorFlow takes oneDNN's kernels unasked on some processors only; they convolve 2.4 times as fast as its own
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # matplotlib draws into files; a notebook's or a desktop's backend may not even be installed here
    "MPLBACKEND": "agg",
    "MATPLOTLIBRC": os.devnull,  # matplotlib's defaults, not the user's
}
# Whatever else steers kernels is removed, such as ONEDNN_DEFAULT_FPMATH_MODE, TF_NUM_INTRAOP_THREADS, XLA_FLAGS
STEERING = re.compile(r"(ONEDNN|DNNL|OMP|GOMP|KMP|MKL|NPY|OPENBLAS|GOTO|TF2?|XLA)_")
HARMLESS = re.compile(r"TF_CPP_|TF_GPU_|TF_FORCE_GPU_|\w*VERBOSE")  # logs, and how a GPU's memory is managed


def fix_environment() -> None:
    """Sets the environment variables that choose kernels; to be called before NumPy is imported."""
    for name in list(os.environ):
        if STEERING.match(name) and not HARMLESS.match(name):
            del os.environ[name]
    os.environ.update(FIXED)


def choose_kernels(kernels: Kernels) -> None:
    """Chooses TensorFlow's kernels, before its first operation.

    Native ones are whatever is fastest here: all instruction sets, all cores for one operation, the GPU.
    """
    import tensorflow as tf

    if kernels == "portable":
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"  # oneDNN reads it at its first operation
        # oneDNN divides a sum among as many threads as there are caches to hold it; one thread has no choice
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.set_visible_devices([], "GPU")


def why_not_portable(kernels: Kernels) -> str:
    """Why results have other bytes on other machines; empty if they have the same."""
    machine = f"{platform.system()} on {platform.machine()}"
    if kernels != "portable":
        return f"train.kernels is {kernels}"
    if machine != "Linux on x86_64":
        return f"this is {machine}"
    if not {"avx2", "fma"} <= set(_processor().split()):
        return "this processor has no AVX2"
    if "hwcaps" in os.environ.get("GLIBC_TUNABLES", ""):
        return "GLIBC_TUNABLES chooses functions of the C library"
    return ""


def kernels_identity(kernels: Kernels) -> str:
    """A text that differs where the kernels, and so the bytes of results, may differ."""
    if not why_not_portable(kernels):
        return "portable"
    import tensorflow as tf

    return f"{kernels}, {_processor()}, {os.cpu_count()} cores, {tf.config.get_visible_devices()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    features = re.search(r"^(flags|Features)\s*:.*$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return features[0] if features else platform.processor()
