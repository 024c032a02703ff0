"""Writes bench/results.md: ratios of medians of the raw figures, each with its target."""

from collections.abc import Iterator
from statistics import median

# The nets of which tutorial.py is the script
NETS = ("mlp_256", "mlp_1000", "mlp_1000_dropout", "mlp_1000x2_dropout", "cnn", "cnn_1x28x28")
GROWTH = (6, 24, 96)  # architectures

Raw = dict[str, list[float]]
Row = tuple[str, float, str, str]  # figure, value, format, target


def page(raw: dict[str, Raw]) -> str:
    """The page as Markdown, without parts that were not measured."""
    machine = raw["machine"]
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Figures are medians, and ratios of medians, of interleaved runs.",
    ]
    lines += ["", "| figure | measured | target | |", "|---|---|---|---|"]
    lines += [_line("processor cores", machine["cores"][0], "{}", "")]
    lines += [
        _line("memory bandwidth of a copy, read and written", median(machine["bandwidth"]) / 1e9, "{:.0f} GB/s", "")
    ]
    for part, rows in PARTS.items():
        if part in raw:
            lines += [_line(*row) for row in rows({key: median(values) for key, values in raw[part].items()})]
    return "\n".join(lines) + "\n"


def _line(figure: str, value: float, form: str, goal: str) -> str:
    sign, _, limit = goal.partition(" ")
    mark = ""
    if sign in ("≤", "≥"):
        number = float(limit.split()[0])
        mark = "✓" if (value <= number if sign == "≤" else value >= number) else "missed"
    return f"| {figure} | {form.format(value)} | {goal} | {mark} |"


def _full(raw: dict[str, float]) -> Iterator[Row]:
    names = [name for name in NETS if f"script {name}" in raw]
    scripts = sum(raw[f"script {name}"] for name in names)
    seeds = raw.get("seeds", 1)
    yield "seeds", seeds, "{:.0f}", ""
    yield "clean full run with all seeds, `make repro`", raw["clean"], "{:.0f} s", ""
    yield f"the {len(names)} tutorial scripts, one after the other", scripts, "{:.0f} s", ""
    goal = "≤ 0.5" if seeds == 1 else "≤ 1"
    yield f"clean full run ÷ the {len(names)} scripts", raw["clean"] / scripts, "{:.2f}", goal
    for name in names:
        ratio = raw[f"edited {name}"] / raw[f"script {name}"]
        times = f"{raw[f'edited {name}']:.0f} s ÷ {raw[f'script {name}']:.0f} s"
        yield f"`{name}` edited, one seed, `make repro` ÷ its script: {times}", ratio, "{:.2f}", "≤ 0.9"


def _loop(raw: dict[str, float]) -> Iterator[Row]:
    for kernels in ("native", "portable"):
        figure = f"peak of TensorFlow's matrix multiplication, float32 2000 × 2000, {kernels} kernels"
        yield figure, raw[f"peak {kernels}"] / 1e9, "{:.0f} GFLOP/s", ""
    for name in (name for name in NETS if f"tutorial {name} images/s" in raw):
        ours, theirs, native = (raw[f"{who} {name} images/s"] for who in ("portable", "tutorial", "native"))
        goal = "≥ 2" if name.startswith("cnn") else "≥ 1.5"
        speeds = f"{ours:,.0f} ÷ {theirs:,.0f} images/s"
        yield f"`{name}` training loop ÷ the tutorial's `fit`: {speeds}", ours / theirs, "{:.2f}", goal
        yield f"`{name}` alone, portable kernels ÷ native: ÷ {native:,.0f} images/s", ours / native, "{:.2f}", ""
        goal = {"mlp_1000": "≥ 60 %", "cnn": "≥ 45 %"}.get(name, "")
        yield f"`{name}`: share of the portable peak", 100 * raw[f"share {name}"], "{:.0f} %", goal


def _overhead(raw: dict[str, float]) -> Iterator[Row]:
    stages = f"{raw['stages']:.0f}"
    yield "nothing changed: `dvc repro`", raw["nothing"], "{:.2f} s", ""
    yield f"÷ bare DVC on {stages} trivial stages", raw["nothing"] / raw["bare"], "{:.2f}", "≤ 1.15"
    figure = f"÷ bare DVC on {stages} trivial stages with as many dependencies, params and outputs"
    yield figure, raw["nothing"] / raw["alike"], "{:.2f}", ""
    yield "nothing changed: `make repro`", raw["make repro, nothing"], "{:.2f} s", ""
    yield "an edit undone: `dvc repro` ÷ nothing changed", raw["undo"] / raw["nothing"], "{:.2f}", "≤ 2"
    yield "report of all architectures: `make repro`", raw["reports, make repro"], "{:.1f} s", "≤ 5 s"
    yield "report of all architectures: `dvc repro`", raw["reports, dvc repro"], "{:.1f} s", ""


def _memory(raw: dict[str, float]) -> Iterator[Row]:
    for times in (1, 4, 16):
        yield f"preprocess, {times} × MNIST: peak memory", raw[f"bytes {times}"] / 1e6, "{:.0f} MB", "flat"
        yield f"preprocess, {times} × MNIST: time", raw[f"seconds {times}"], "{:.1f} s", "linear"


def _growth(raw: dict[str, float]) -> Iterator[Row]:
    for count in GROWTH:
        if f"clean {count}" in raw:
            stages = 2 + 3 * count
            for kind in ("clean", "nothing"):
                ours, bare = raw[f"{kind} {count}"], raw[f"bare {kind} {count}"]
                figure = f"{count} small architectures, {kind}: {ours:.1f} s; bare DVC on {stages} stages: {bare:.1f} s"
                yield figure, (ours - bare) / stages, "{:.2f} s more per stage", "constant"


PARTS = {"full": _full, "loop": _loop, "overhead": _overhead, "memory": _memory}
PARTS |= {f"growth-{count}": _growth for count in GROWTH}
