"""Runs the commands of a page and compares what they print with what the page shows.

    walk.py PAGE TIER… [--write]

A fence ```console TIER holds commands, each after `$ ` and continued after a backslash, and below each
what it prints. Commands of the tiers named here are run in the page's order, in one bash, with kubectl and
helm on the PATH; `…` in an output stands for any text, and alone on a line for any lines. --write puts
what was printed into the page instead of comparing.

Tiers: `api` needs an API server only, `router` also a router and its pods, which may be processes,
`cluster` needs nodes that run pods, `shown` is never run.
"""

import dataclasses
import os
import pathlib
import re
import secrets
import subprocess
import sys

import cluster

TIERS = ("api", "router", "cluster", "shown")
# A command of the page that waits, waits at most 2 min itself.
COMMAND_LIMIT_S = 180
HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass
class Step:
    """A command of the page, where it stands, and what the page says it prints."""

    tier: str
    line: int
    command: str
    expected: list


def steps(text):
    """The commands of a page, in order."""
    found, tier, continues = [], None, False
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"^```(\S*)\s*(.*)$", line)
        if fence:
            is_begin = tier is None and fence[1] == "console"
            if is_begin and fence[2] not in TIERS:
                raise ValueError(f"line {number}: after ```console comes one of {', '.join(TIERS)}")
            tier = fence[2] if is_begin else None
            continues = False
        elif tier and continues:
            found[-1].command += f"\n{line}"
            continues = line.endswith("\\")
        elif tier and line.startswith("$ "):
            found.append(Step(tier, number, line[2:], []))
            continues = line.endswith("\\")
        elif tier and found and found[-1].tier == tier:
            found[-1].expected.append(line)
        elif tier:
            raise ValueError(f"line {number}: a ```console block begins with a command, after `$ `")
    return found


def matches(expected, printed):
    """Whether an output is as shown. Columns may be wider or narrower."""
    pattern = []
    for line in expected:
        words = re.sub(r"\s+", " ", line.strip())
        if words == "…":
            pattern.append(r"(?:[^\n]*\n)*?")
        else:
            pattern.append(re.escape(words).replace(re.escape("…"), r"[^\n]*?") + r"\n")
    lines = [re.sub(r"\s+", " ", line.strip()) for line in printed]
    return re.fullmatch("".join(pattern), "".join(f"{line}\n" for line in lines)) is not None


def run(chosen, environment):
    """Runs steps in one bash: for each, its exit code and the lines it printed."""
    marker = f"--{secrets.token_hex(16)}--"
    # What runs in the background, such as a port-forward, ends with the page.
    script = ["trap 'kill $(jobs -p) 2>/dev/null' EXIT", "exec </dev/null 2>&1"]
    for step in chosen:
        script += [step.command, f"printf '\\n%s %d\\n' {marker} $?"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=HERE.parents[1],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=COMMAND_LIMIT_S * max(1, len(chosen)),
        check=False,
    )
    results, printed = [], []
    for line in done.stdout.splitlines():
        if line.startswith(marker):
            # The marker's own line break is not the command's.
            if printed and not printed[-1]:
                printed.pop()
            results.append((int(line.split()[1]), printed))
            printed = []
        else:
            printed.append(line)
    if len(results) != len(chosen):
        raise AssertionError(f"bash ended early: {done.stdout[-2000:]}")
    return results


def environment(kubeconfig):
    """The variables that the page's commands see; kubectl and helm are found."""
    folders = [HERE / "bin", pathlib.Path(sys.executable).parent]
    if cluster.has_control_plane():
        folders.append(pathlib.Path(os.environ[cluster.PROGRAMS]))
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    return {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": path, "NO_COLOR": "1"}


def differences(chosen, results):
    """What was printed otherwise than shown, or ended in an error that the page does not show."""
    found = []
    for step, (code, printed) in zip(chosen, results, strict=True):
        is_shown_to_fail = any(line.startswith(("Error", "The ")) for line in step.expected)
        if code != 0 and not is_shown_to_fail:
            found.append(f"line {step.line}: `{step.command}` ended with {code}: {printed}")
        elif step.expected and not matches(step.expected, printed):
            shown = "\n".join(step.expected)
            was = "\n".join(printed)
            found.append(f"line {step.line}: `{step.command}` printed\n{was}\ninstead of\n{shown}")
    return found


def rewritten(text, chosen, results):
    """The page with what was printed in the place of what was shown."""
    lines = text.splitlines()
    for step, (_, printed) in reversed(list(zip(chosen, results, strict=True))):
        begin = step.line + step.command.count("\n")
        lines[begin : begin + len(step.expected)] = printed
    return "\n".join(lines) + "\n"


def main(arguments):
    is_write = "--write" in arguments
    path, *tiers = [word for word in arguments if word != "--write"]
    page = pathlib.Path(path)
    text = page.read_text()
    chosen = [step for step in steps(text) if step.tier in tiers]
    results = run(chosen, environment(os.environ["KUBECONFIG"]))
    if is_write:
        page.write_text(rewritten(text, chosen, results))
        return
    problems = differences(chosen, results)
    print("\n\n".join(problems) or f"{len(chosen)} commands did what {page.name} shows")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:])
