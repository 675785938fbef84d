"""From figures to ratios, floors and Markdown."""

import statistics
from dataclasses import dataclass

JAVA, QUORATE = "java", "quorate"


@dataclass(frozen=True)
class Measure:
    """A figure of the generator's line and how it is shown."""

    field: str
    title: str
    digits: int
    higher_is_better: bool


THROUGHPUT = Measure("ops_per_s", "operations/s", 0, True)
CPU = Measure("server_cpu_us_per_op", "server CPU, µs/operation", 1, False)
P50 = Measure("p50_us", "p50, µs", 0, False)
P99 = Measure("p99_us", "p99, µs", 0, False)
MEASURES = [THROUGHPUT, CPU, P50, P99]

# What a release has to reach: a ratio of Quorate to Java by (workload, measure); at least for
# throughput, at most for latency.
FLOORS = {
    ("write", THROUGHPUT): 3.0,
    ("read", THROUGHPUT): 4.0,
    ("mix", THROUGHPUT): 4.0,
    ("single-leader", P50): 0.6,
    ("single-follower", P50): 0.6,
}
# A quick run measures a few seconds twice, on cores that the generator and the rest of the machine
# share, so one disturbance moves its figures. Its floors are this share easier; a full run's are not.
QUICK_TOLERANCE = 0.25
# Floors that no run has reached so far, with the ratio at which a quick run fails until one does:
# it then guards against getting worse. A full run knows no such thing. docs/performance.md says why.
KNOWN_MISSES = {
    ("single-leader", P50): 1.0,
    ("single-follower", P50): 1.0,
}
# More than this share of the machine used by others makes a run worth repeating.
DISTURBED_SHARE = 0.10


@dataclass
class Row:
    workload: str
    measure: Measure
    java: list[float]
    quorate: list[float]

    @property
    def ratio(self) -> float:
        return divide(statistics.median(self.quorate), statistics.median(self.java))

    @property
    def spread(self) -> tuple[float, float]:
        """Smallest and largest ratio of any one round."""
        ratios = [divide(ours, theirs) for ours, theirs in zip(self.quorate, self.java)]
        return min(ratios), max(ratios)

    def floor(self, tolerance: float) -> float | None:
        floor = FLOORS.get((self.workload, self.measure))
        if floor is None:
            return None
        if tolerance > 0 and (self.workload, self.measure) in KNOWN_MISSES:
            return KNOWN_MISSES[self.workload, self.measure]
        if self.measure.higher_is_better:
            return floor * (1 - tolerance)
        return floor / (1 - tolerance)

    def is_met(self, tolerance: float) -> bool:
        floor = self.floor(tolerance)
        if floor is None:
            return True
        return self.ratio >= floor if self.measure.higher_is_better else self.ratio <= floor


class Results:
    """Figures of all rounds, kept as they come."""

    def __init__(self):
        self.figures: dict[tuple[str, str], list[dict]] = {}

    def add(self, system: str, workload: str, figures: dict):
        self.figures.setdefault((system, workload), []).append(figures)

    def workloads(self) -> list[str]:
        return list(dict.fromkeys(workload for _, workload in self.figures))

    def rows(self) -> list[Row]:
        """One for every workload and measure of which both systems have figures."""
        return [
            Row(workload, measure, *columns)
            for workload in self.workloads()
            for measure in MEASURES
            if all(columns := [self._column(it, workload, measure) for it in (JAVA, QUORATE)])
        ]

    def _column(self, system: str, workload: str, measure: Measure) -> list[float]:
        return [it[measure.field] for it in self.figures.get((system, workload), [])]

    def misses(self, tolerance: float) -> list[str]:
        return [
            f"{row.workload}, {row.measure.title}: ratio {row.ratio:.2f}, "
            f"floor {row.floor(tolerance):.2f}"
            for row in self.rows()
            if not row.is_met(tolerance)
        ]

    def ratio_table(self, tolerance: float) -> str:
        lines = [
            "| workload | figure | Java, by round | Quorate, by round | Quorate ÷ Java, medians "
            "| smallest to largest round | floor |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        for row in self.rows():
            digits = row.measure.digits
            low, high = row.spread
            floor = row.floor(tolerance)
            sign = "≥" if row.measure.higher_is_better else "≤"
            verdict = "" if row.is_met(tolerance) else ", missed"
            cells = [
                row.workload,
                row.measure.title,
                " / ".join(f"{value:,.{digits}f}" for value in row.java),
                " / ".join(f"{value:,.{digits}f}" for value in row.quorate),
                f"**{row.ratio:.2f}**",
                f"{low:.2f} to {high:.2f}",
                "" if floor is None else f"{sign} {floor:.2f}{verdict}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def cpu_table(self) -> str:
        """Where the CPU of the machine went: cores used, and the share of everything else."""
        lines = [
            "| workload | system | cores, servers | cores, generator "
            "| generator CPU, µs/operation | others, share of machine |",
            "|---|---|---:|---:|---:|---:|",
        ]
        for (system, workload), rounds in sorted(
            self.figures.items(), key=lambda item: self.workloads().index(item[0][1])
        ):
            cells = [workload, {JAVA: "Java", QUORATE: "Quorate"}[system]]
            for field, form in [
                ("server_cores", ".2f"),
                ("generator_cores", ".2f"),
                ("generator_cpu_us_per_op", ".2f"),
                ("others_cpu_share", ".0%"),
            ]:
                cells.append(" / ".join(format(it[field], form) for it in rounds))
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def disturbed(self) -> list[str]:
        return [
            f"{workload} on {system}, round {number}: others took "
            f"{it['others_cpu_share']:.0%} of the machine"
            for (system, workload), rounds in self.figures.items()
            for number, it in enumerate(rounds, start=1)
            if it["others_cpu_share"] > DISTURBED_SHARE
        ]


def divide(a: float, b: float) -> float:
    return a / b if b else float("nan")
