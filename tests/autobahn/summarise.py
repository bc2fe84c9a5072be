#!/usr/bin/env python3
"""Turns the reports of the last tests/autobahn/run into counts, a comparison
with expected.json and, if asked, the result page docs/autobahn.md.

`run` calls this at its end; calling it directly looks at the same reports again.
"""

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SPEC = HERE / "fuzzingclient.json"
EXPECTED = HERE / "expected.json"
REPORTS = ROOT / "target" / "autobahn" / "reports"
RUN = REPORTS / "run.json"  # what was run, written by `run`
DOCS = ROOT / "docs" / "autobahn.md"
AGENT = "tidegate"  # what the reports call the tested server

VERDICTS = ["OK", "NON-STRICT", "INFORMATIONAL", "FAILED", "UNIMPLEMENTED"]
# How the connection closed is judged apart from the case itself.
CLOSE_VERDICTS = ["OK", "INFORMATIONAL", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "FAILED",
                  "UNIMPLEMENTED"]
SECTIONS = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Closing",
    "9": "Limits and performance",
    "10": "Miscellaneous",
    "12": "Compression",
    "13": "Compression, parameters",
}
DIFFERENCES_SHOWN = 40


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    options = parser.parse_args()
    return summarise(accept=options.accept, write_docs=options.write_docs)


def add_arguments(parser):
    parser.add_argument("--accept", action="store_true",
                        help="write these results to expected.json")
    parser.add_argument("--write-docs", action="store_true",
                        help="write the result page docs/autobahn.md")


def summarise(accept, write_docs):
    """Prints the summary; returns the exit status."""
    if not RUN.exists():
        return refuse("there are no reports: run tests/autobahn/run first")
    run = json.loads(RUN.read_text(encoding="utf-8"))
    results = load_results(run)
    expected = json.loads(EXPECTED.read_text(encoding="utf-8")) if EXPECTED.exists() else {}

    print_counts(results)
    print_slowest(results)
    missing, differences = compare(run, results, expected)
    for line in differences[:DIFFERENCES_SHOWN]:
        print(line)
    if len(differences) > DIFFERENCES_SHOWN:
        print(f"... and {len(differences) - DIFFERENCES_SHOWN} more")
    if missing:
        print(f"{len(missing)} cases have no result:",
              ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else ""))
    if differences:
        print(f"{len(differences)} not as expected; "
              f"full reports: {REPORTS.relative_to(ROOT)}/*/index.html")
    if not missing and not differences:
        print(f"All {len(results)} cases are as expected.")

    if (run["broken"] or missing) and (accept or write_docs):
        return refuse("the run is not complete: neither accepting it nor writing the result page")
    if accept:
        write_expected(run, results, expected)
        print(f"Wrote {EXPECTED.relative_to(ROOT)}")
        differences = []
    if write_docs:
        if not (run["complete"] and run["gateway"]):
            return refuse("the result page takes a run of all cases against the gateway built here")
        DOCS.parent.mkdir(exist_ok=True)
        DOCS.write_text(result_page(run, results), encoding="utf-8")
        print(f"Wrote {DOCS.relative_to(ROOT)}")
    return 1 if differences or missing else 0


def refuse(why):
    print(f"tests/autobahn/summarise.py: {why}", file=sys.stderr)
    return 2


def load_results(run):
    """What each case came to: id -> the parts used here of the case's own report."""
    wanted = ("behavior", "behaviorClose", "description", "duration", "result", "resultClose")
    results = {}
    for one_pass in run["passes"]:
        folder = REPORTS / one_pass["name"]
        if not (folder / "index.json").exists():
            continue  # broke off; its cases will count as having no result
        # The index lacks the agent if not even the first connection came about.
        index = json.loads((folder / "index.json").read_text(encoding="utf-8")).get(AGENT, {})
        for case, entry in index.items():
            report = json.loads((folder / entry["reportfile"]).read_text(encoding="utf-8"))
            results[case] = {key: report[key] for key in wanted}
    return {case: results[case] for case in sorted(results, key=in_order)}


def in_order(case):
    """Sort key that puts 6.9 before 6.10."""
    return [int(part) for part in case.split(".")]


def print_counts(results):
    verdicts = Counter(result["behavior"] for result in results.values())
    closing = Counter(result["behaviorClose"] for result in results.values())
    print(f"{len(results)} cases ran")
    print("  verdict:", ", ".join(f"{verdicts[name]} {name}" for name in VERDICTS))
    print("  closing:", ", ".join(f"{closing[name]} {name}" for name in CLOSE_VERDICTS
                                  if closing[name]))


def print_slowest(results, count=8):
    """For information only: the machine decides these more than the gateway."""
    timed = sorted(((result["duration"], case) for case, result in results.items()
                    if case.startswith("9.")), reverse=True)
    if timed:
        print("  slowest of section 9:", ", ".join(f"{case} {duration} ms"
                                                   for duration, case in timed[:count]))


def compare(run, results, expected):
    """The cases that should have run and did not, and a line for each that came out otherwise."""
    cases = set(results).union(*(one_pass["cases"] for one_pass in run["passes"]))
    if run["complete"]:
        cases |= set(expected)
    missing = sorted(cases - set(results), key=in_order)
    lines = []
    for case, got in results.items():
        want = expected.get(case)
        if want is None or any(want[key] != got[key] for key in want):
            lines.append(f"DIFFERS {case}: expected {shown(want)}, got {shown(got)}: {words(got)}")
    return missing, lines


def shown(verdicts):
    if not verdicts:
        return "nothing"
    return f"{verdicts['behavior']} (closing {verdicts['behaviorClose']})"


def words(result):
    """How the suite itself puts the two verdicts."""
    return " ".join(text if text.endswith((".", "!")) else text + "."
                    for text in (result["result"].strip(), result["resultClose"].strip()))


def write_expected(run, results, expected):
    """Replaces what was run and keeps the rest; one case per line, for readable diffs."""
    merged = {} if run["complete"] else dict(expected)
    for case, result in results.items():
        merged[case] = {key: result[key] for key in ("behavior", "behaviorClose")}
    lines = [f"  {json.dumps(case)}: {json.dumps(merged[case])}"
             for case in sorted(merged, key=in_order)]
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def result_page(run, results):
    """docs/autobahn.md. No date and no timings: the same results give the same page."""
    suite, library = run["versions"]
    manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"', manifest, re.MULTILINE)[1]
    sections = {}
    for case, result in results.items():
        sections.setdefault(case.partition(".")[0], []).append(result)
    closings = [name for name in CLOSE_VERDICTS
                if any(result["behaviorClose"] == name for result in results.values())]
    notable = {case: result for case, result in results.items()
               if (result["behavior"], result["behaviorClose"]) != ("OK", "OK")}
    return "\n".join([
        "# Conformance",
        "",
        f"Results of tidegate {version} under the fuzzing client of autobahntestsuite {suite}",
        f"(on autobahn {library}), the public WebSocket conformance suite. Written by",
        "",
        "```sh",
        "tests/autobahn/install",
        "tests/autobahn/run --write-docs",
        "```",
        "",
        "Section 9 runs with `tests/autobahn/section9.toml`, which allows messages of 16 MiB, all",
        "others on the defaults. Each case gets two verdicts: one on what came back, one on how the",
        "connection was closed.",
        "",
        row("Section", "Cases", *VERDICTS, *("closing " + name for name in closings)),
        row("---", *["--:"] * (1 + len(VERDICTS) + len(closings))),
        *(count_row(f"{section} {SECTIONS.get(section, '')}", cases, closings)
          for section, cases in sections.items()),
        count_row("**Total**", list(results.values()), closings),
        "",
        *([
            "## Everything but OK",
            "",
            row("Case", "Verdict", "Why"),
            row("---", "---", "---"),
            *(row(case, shown(result), remark(result)) for case, result in notable.items()),
            "",
        ] if notable else []),
        "## Every case",
        "",
        row("Case", "What it does", "Verdict", "Closing"),
        row("---", "---", "---", "---"),
        *(row(case, short(result["description"]), result["behavior"], result["behaviorClose"])
          for case, result in results.items()),
        "",
    ])


def remark(result):
    if result["behavior"] == "INFORMATIONAL":
        # The suite's words for these may change from run to run.
        return "The specification leaves the outcome open; the suite only takes note."
    return words(result)


def count_row(name, results, closings):
    verdicts = Counter(result["behavior"] for result in results)
    closing = Counter(result["behaviorClose"] for result in results)
    return row(name, len(results), *(verdicts[name] for name in VERDICTS),
               *(closing[name] for name in closings))


def row(*cells):
    return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|")
                             for cell in cells) + " |"


def short(description, limit=120):
    """The description's first paragraph without markup, cut between words."""
    paragraph = re.split(r"<br\s*/?>", description.strip(), maxsplit=1)[0]
    text = " ".join(re.sub(r"<[^>]*>", "", paragraph).split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " …"


if __name__ == "__main__":
    sys.exit(main())
