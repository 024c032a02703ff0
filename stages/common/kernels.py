"""Chooses the kernels that compute results, so that they do not depend on the machine.

Libraries choose kernels by the processor (its instruction sets, caches, cores) and the environment. Other kernels add
up in another order, so last bits differ, and ten epochs amplify that. With the choices below, data, models and
predictions are the same bytes on any x86-64 processor with AVX2, under Linux.
"""

import os
import platform
import re
from pathlib import Path
from typing import Literal

Kernels = Literal["portable", "native"]

# Libraries read these when they are imported, or at their first operation.
FIXED = {
    # With AVX2 or AVX-512, NumPy uses other functions for exp, log and sort
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    # OpenBLAS, NumPy's linear algebra, has kernels for each family of processors; Haswell was the first with AVX2
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "KERAS_BACKEND": "tensorflow",
    # By default, TensorFlow uses oneDNN on some processors only; it convolves 2.4 times as fast as TensorFlow's own
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # matplotlib draws into files; a notebook's or a desktop's backend may not even be installed here
    "MPLBACKEND": "agg",
    "MATPLOTLIBRC": os.devnull,  # matplotlib's defaults, not the user's; see also pictures.py
}
# Every other variable that may choose kernels, or how letters are drawn, is removed, such as XLA_FLAGS
STEERING = re.compile(
    r"(ONEDNN|DNNL|OMP|GOMP|KMP|MKL|NPY|OPENBLAS|GOTO|TF2?|XLA|KERAS|SCIPY|SKLEARN|HDF5|FREETYPE|HB)_"
)
# Logs, how a GPU's memory is managed, the place of data sets, how files are locked
HARMLESS = re.compile(r"TF_CPP_|TF_GPU_|TF_FORCE_GPU_|\w*VERBOSE|(KERAS_HOME|HDF5_USE_FILE_LOCKING)$")


def fix_environment() -> None:
    """Sets the environment variables that choose kernels. Call it before NumPy is imported."""
    for name in list(os.environ):
        if STEERING.match(name) and not HARMLESS.match(name):
            del os.environ[name]
    os.environ.update(FIXED)


def choose_kernels(kernels: Kernels) -> None:
    """Chooses TensorFlow's kernels, before its first operation.

    Native kernels are the fastest here: all instruction sets, all cores for one operation, the GPU.
    """
    import tensorflow as tf

    if kernels == "portable":
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"  # oneDNN reads it at its first operation
        # oneDNN divides a sum among threads by the size of the caches; with one thread there is no choice
        tf.config.threading.set_intra_op_parallelism_threads(1)
        # it turns a division by a square root into TensorFlow's approximate 1/√x, which differs between processors
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
        tf.config.set_visible_devices([], "GPU")


def why_not_portable(kernels: Kernels) -> str:
    """Returns why other machines would give other bytes; an empty string if they give the same."""
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
    """Returns a text that differs where the kernels, and so the bytes of results, may differ."""
    if not why_not_portable(kernels):
        return "portable"
    import tensorflow as tf

    return f"{kernels}, {_processor()}, {os.cpu_count()} cores, {tf.config.get_visible_devices()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    features = re.search(r"^(flags|Features)\s*:.*$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return features[0] if features else platform.processor()
