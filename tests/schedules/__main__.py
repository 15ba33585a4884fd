"""`make prove`: every interleaving of small scripts, each held against what this relay promises."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from local.server import StartError
from tests.schedules.campaign import Job, Sample, Tally
from tests.schedules.explorer import NotRepeatable, Repeated, interleavings
from tests.schedules.players import run
from tests.schedules.readers import KINDS, NAIVE, PROVEN, SHARED, SINGLE, kinds
from tests.schedules.script import Script, Subscription
from tests.schedules.scripts import SCRIPTS
from tests.schedules.stage import SessionFailed, Stage, prepared_database

DESCRIPTION = """\
Each script is a few sessions, cut into steps: writers that lock a group's row and publish, and one
or two relays that look, claim, deliver, commit or die. All orders of their steps are played on a
real Postgres of its own; a session that waits for another's lock stands still until it has it.
Whether it waits is what Postgres says, and no time decides what comes of a step.
After each schedule the log is read to its end and held against the promises: nothing lost, nothing
seen that was rolled back, first arrivals of a group in the order of writing, no repeat but of what
was in flight at a crash. The push run reads the same logs, to an endpoint that refuses some first
attempts and answers others after their run.
In other scripts one run is of two or three subscriptions, whose filters and priorities differ: it
claims all that nobody else holds, reads the log once, and ends with a checkpoint for each and with
the claim of the next run. Members go alone for a while and join again, other relays take them, and
the relay dies at each step. Every promise is held to each subscription alone, and it gets what it
wants and nothing else.
Two readers that look right, `id > last` and `(xid, id)` below the xmin horizon, go through the
schedules of one subscription and have to be caught."""

EPILOG = """\
examples:
  python -m tests.schedules                                   everything, some minutes
  python -m tests.schedules --script early_xid                one script
  python -m tests.schedules --sample 50 --seed 7              50 random schedules of each
  python -m tests.schedules --replay late_commit:ABBRRARR     one schedule, step by step
  python -m tests.schedules --replay late_commit:ABBRRARR --reader "by id"

A schedule is written as the names of its sessions in the order of their steps: writers A, B, C,
readers R, S and a lone one, L; --list says what each one's steps are. Where a step frees two
sessions that wait, one more name says which of them goes on first. Exit 0: every schedule played,
every promise kept and both readers caught where they should be; else 1."""

PLAIN_WIDTH = 140
TELL_SECONDS = 20.0


def main() -> int:
    """Exit 0 where every promise was kept and the naive readers were caught, 1 where not."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    try:
        if arguments.list:
            return _list(console)
        if arguments.replay:
            script, path = arguments.replay
            return _replay(console, script, path, arguments.reader)
        return _prove(console, arguments)
    except (StartError, NotRepeatable, SessionFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.schedules",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--script", type=_script, action="append", metavar="NAME", help="only this one; repeatable")
    add("--sample", type=int, metavar="N", help="N random schedules of each script, not all")
    add("--seed", type=int, default=1, metavar="S", help="of the sample; 1")
    add("--replay", type=_schedule, metavar="SCRIPT:STEPS", help="one schedule, step by step")
    add(
        "--reader",
        choices=list(KINDS),
        help="who reads in --replay; the first that reads in the script",
    )
    add("--list", action="store_true", help="the scripts with their sessions' steps")
    arguments = parser.parse_args()
    if arguments.replay and arguments.reader:
        script, _ = arguments.replay
        if arguments.reader not in kinds(script):
            parser.error(f"--reader: {script.name} is read by {', '.join(kinds(script))}")
    if arguments.sample is not None and arguments.sample < 1:
        parser.error("--sample: write a number from 1")
    return arguments


def _script(name: str) -> Script:
    for script in SCRIPTS:
        if script.name == name:
            return script
    names = ", ".join(script.name for script in SCRIPTS)
    raise argparse.ArgumentTypeError(f"there is no script {name!r}; there are {names}")


def _schedule(text: str) -> tuple[Script, str]:
    name, _, path = text.partition(":")
    script = _script(name)
    strangers = set(path) - set(script.sessions)
    if strangers:
        sessions = ", ".join(script.sessions)
        raise argparse.ArgumentTypeError(
            f"{name} has no session {', '.join(sorted(strangers))}; it has {sessions}"
        )
    return script, path


def _list(console: Console) -> int:
    for script in SCRIPTS:
        bounds = f"runs of at most {script.limit}, {script.shards} shard(s)"
        console.print(f"[bold]{script.name}[/bold]: {script.about} ({bounds})", highlight=False)
        if script.is_shared:
            for subscription in script.subscriptions:
                console.print(f"  {escape(_wishes(subscription))}", highlight=False)
        for name, steps in script.sessions.items():
            console.print(f"  {name}  {' | '.join(steps)}", highlight=False)
    return 0


def _wishes(subscription: Subscription) -> str:
    """A subscription in words."""
    words = [f"subscription {subscription.name}"]
    if subscription.channels is not None:
        words.append(f"of {', '.join(subscription.channels)}")
    if subscription.types is not None:
        words.append(f"of type {', '.join(subscription.types)}")
    if subscription.stops_at is not None:
        words.append(f"that takes {subscription.stops_at} only alone")
    return " ".join(words)


def _replay(console: Console, script: Script, path: str, kind: str | None) -> int:
    kind = kind or kinds(script)[0]
    with (
        console.status("starting Postgres"),
        prepared_database() as url,
        Stage(url, script, kind) as stage,
    ):
        played = stage.play(Repeated(path).choose)
    for step in played.steps:
        console.print(f"  {step}", highlight=False)
    console.print(f"arrived: {', '.join(played.arrived) or 'nothing'}", highlight=False)
    for promise in played.broken or ["every promise kept"]:
        console.print(f"[bold]{promise}[/bold]", highlight=False)
    return 1 if played.broken else 0


def _prove(console: Console, arguments: argparse.Namespace) -> int:
    scripts: Sequence[Script] = arguments.script or SCRIPTS
    sample = Sample(arguments.sample, arguments.seed) if arguments.sample else None
    jobs = [Job(script, kind, sample) for script in scripts for kind in kinds(script)]
    began_at = time.monotonic()
    tallies = Watch(console, jobs).run()
    by_script = {script.name: dict[str, Tally]() for script in scripts}
    for job, tally in zip(jobs, tallies, strict=True):
        by_script[job.script.name][job.kind] = tally
    single = [script for script in scripts if not script.is_shared]
    shared = [script for script in scripts if script.is_shared]
    if single:
        console.print(_table("Every interleaving: runs of one cursor", single, SINGLE, by_script))
    if shared:
        console.print(_table("Every interleaving: shared runs", shared, SHARED, by_script))
    faults = _faults(scripts, by_script, sample)
    for line in [*_catches(scripts, by_script), *faults]:
        console.print(line, highlight=False, soft_wrap=True)
    seconds = time.monotonic() - began_at
    proven = [tally for one in by_script.values() for kind, tally in one.items() if kind in PROVEN]
    broken = sum(tally.broken for tally in proven)
    schedules = sum(tally.schedules for tally in proven)
    # Each schedule's share of the tree of choices: where they make up 1, all were played, and once.
    which = "all there are" if sample is None else f"a sample of seed {sample.seed}"
    console.print(
        f"{schedules:,} schedules ({which}), {broken} broke a promise; {seconds:.0f} s",
        style="bold red" if faults else "bold green",
        highlight=False,
    )
    return 1 if faults else 0


class Watch:
    """Tells how far the jobs are: bars on a terminal; elsewhere a line each, and one now and then.

    How many schedules there are is known when they were played: which session can step is known
    then. What is known before is each one's share of the whole.
    """

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self._console = console
        self._jobs = jobs
        self._tallies = [Tally() for _ in jobs]
        self._began_at = self._told_at = time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.1f} %, {task.fields[schedules]:,} schedules"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._all = self._progress.add_task("all", total=1.0, schedules=0)
        self._bars = [
            self._progress.add_task(_title(job), total=1.0, visible=False, start=False, schedules=0)
            for job in jobs
        ]

    def run(self) -> list[Tally]:
        """Raises what `players.run` raises."""
        with self._progress:
            return run(self._jobs, self._tell)

    def _tell(self, number: int, tally: Tally, is_done: bool) -> None:
        self._tallies[number] = tally
        schedules = sum(one.schedules for one in self._tallies)
        share = self._share()
        bar = self._bars[number]
        if not self._progress.tasks[number + 1].started:
            self._progress.start_task(bar)
        self._progress.update(self._all, completed=share, schedules=schedules)
        self._progress.update(
            bar, completed=float(tally.share), schedules=tally.schedules, visible=not is_done
        )
        if self._console.is_terminal:
            return
        now = time.monotonic()
        if is_done:
            job = self._jobs[number]
            which = "all of them" if job.sample is None else "a sample"
            self._print(f"{_title(job)}: {tally.schedules:,} schedules, {which}")
        elif now - self._told_at > TELL_SECONDS:
            self._told_at = now
            minutes = (now - self._began_at) / 60
            self._print(f"{share:.1%} after {minutes:.1f} min, {schedules:,} schedules")

    def _share(self) -> float:
        sizes = [interleavings(job.script.lengths) for job in self._jobs]
        behind = sum(
            size * float(tally.share) for size, tally in zip(sizes, self._tallies, strict=True)
        )
        return behind / sum(sizes)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False)


def _title(job: Job) -> str:
    return f"{job.script.name}, {job.kind}"


FIRST_COUNTS = ("schedules", "waited", "deliveries", "repeats", "broken")
COUNTS = ("schedules", "repeats", "broken")


def _table(
    title: str,
    scripts: Sequence[Script],
    readers: Sequence[str],
    by_script: dict[str, dict[str, Tally]],
) -> Table:
    """Of scripts that are read by the same kinds of readers."""
    table = Table(title=title, show_footer=True)
    table.add_column("script", "all", no_wrap=True)
    proven, naive_kinds = ([kind for kind in readers if kind in known] for known in (PROVEN, NAIVE))
    figures = [(proven[0], count) for count in FIRST_COUNTS]
    figures += [(kind, count) for kind in proven[1:] for count in COUNTS]
    for kind, count in figures:
        total = sum(getattr(by_script[script.name][kind], count) for script in scripts)
        heading = count if kind == proven[0] else f"{kind}: {count}"
        table.add_column(heading, f"{total:,}", justify="right")
    for kind in naive_kinds:
        caught = sum(by_script[script.name][kind].broken for script in scripts)
        table.add_column(f"{kind}: caught", f"{caught:,}", justify="right")
    for script in scripts:
        tallies = by_script[script.name]
        counts = [getattr(tallies[kind], count) for kind, count in figures]
        naive = [f"{tallies[kind].broken:,} of {tallies[kind].schedules:,}" for kind in naive_kinds]
        table.add_row(script.name, *(f"{count:,}" for count in counts), *naive)
    return table


def _catches(scripts: Sequence[Script], by_script: dict[str, dict[str, Tally]]) -> list[str]:
    """How one naive reader of each kind was caught, to be repeated."""
    lines = []
    for kind in NAIVE:
        caught = [
            (script, played)
            for script in scripts
            if kind in by_script[script.name]
            for played in by_script[script.name][kind].examples[:1]
        ]
        for script, played in caught[:1]:
            again = f'--replay {script.name}:{played.path} --reader "{kind}"'
            lines.append(f"the reader {kind}, for one: {escape(played.broken[0])}   {again}")
    return lines


def _faults(
    scripts: Sequence[Script], by_script: dict[str, dict[str, Tally]], sample: Sample | None
) -> list[str]:
    """What makes the exit code 1, in words."""
    lines = []
    for script in scripts:
        tallies = by_script[script.name]
        for kind in (kind for kind in PROVEN if kind in tallies):
            for played in tallies[kind].examples:
                again = f'--replay {script.name}:{played.path} --reader "{kind}"'
                lines.append(f"[red]{script.name} broke a promise:[/red] {again}")
                lines += [f"  {escape(line)}" for line in [*played.steps, *played.broken]]
        lines += [
            f"[red]{script.name}, {kind}: {tallies[kind].share} of its schedules were played[/red]"
            for kind in tallies
            if sample is None and tallies[kind].share != 1
        ]
        lines += [
            f"[red]{script.name} did not catch the reader {kind}[/red] (a small sample may not)"
            for kind in script.catches
            if not tallies[kind].broken
        ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
