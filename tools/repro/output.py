"""What a stage that has ended printed: the line that says what it did, and what must not be overlooked."""

import re
from dataclasses import dataclass

from tools.repro.schedule import Stage

# stages/train.py, after each epoch
EPOCH = re.compile(r"^\S+  epoch (\d+)/(\d+)  .*$", re.MULTILINE)
# stages/train.py prints this where others print what they did
RESUMED = re.compile(r": resuming after epoch ")
# DVC's own lines on stdout
OF_DVC = re.compile(
    r"(Running stage|Stage|Verifying|Updating|Generating|Data and pipelines are|Use `dvc|To track the changes|"
    r"To enable auto staging|> |\tgit add|\tdvc config)"
)
CACHED = re.compile(r"^Stage '.*' is cached - skipping run", re.MULTILINE)
# DVC's error after its own name for a signal or a shell's; and that of tools/repro/client.py
KILLED = re.compile(r", exited with (-9|137)$|: the warm server that ran it has died", re.MULTILINE)
UNCHANGED = re.compile(r"^(Stage '.*' didn't change, skipping|Data and pipelines are up to date\.)", re.MULTILINE)


@dataclass(frozen=True)
class Output:
    """What DVC and the stage printed."""

    stdout: str
    stderr: str

    @classmethod
    def read(cls, stage: Stage) -> "Output":
        """Reads what a stage has printed so far."""
        return cls(*(path.read_text(encoding="utf-8", errors="replace") for path in (stage.stdout, stage.stderr)))

    @property
    def epoch(self) -> tuple[int, int] | None:
        """The last epoch that a training has finished, and how many there are; `None` if it has told none."""
        told = EPOCH.findall(self.stderr)
        return (int(told[-1][0]), int(told[-1][1])) if told else None

    @property
    def last_line(self) -> str:
        """The last line that the stage itself printed on stdout, or the first if that is a table's row.

        What DVC did if the stage did not run.
        """
        lines = [line for line in self.stdout.splitlines() if line.strip() and not OF_DVC.match(line)]
        if lines:
            return " ".join((lines[0] if "  " in lines[-1].strip() else lines[-1]).split())
        if CACHED.search(self.stdout):
            return "restored from DVC's cache"
        return "unchanged, not run" if UNCHANGED.search(self.stdout) else ""

    @property
    def warnings(self) -> str:
        """What was printed on stderr, but for epochs; and that a training was resumed."""
        resumed = [line for line in self.stdout.splitlines() if RESUMED.search(line)]
        return "\n".join([*resumed, EPOCH.sub("", self.stderr).strip()]).strip()

    @property
    def was_killed(self) -> bool:
        """Whether the stage was ended by SIGKILL, as the system does when memory is short."""
        return bool(KILLED.search(self.stderr))

    @property
    def full(self) -> str:
        """All of it, but for DVC's advice on git."""
        printed = self.stdout.partition("\nTo track the changes with git")[0]
        return f"{printed.strip()}\n{self.stderr.strip()}".strip()
