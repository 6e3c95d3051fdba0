"""What the attacks did, as a table and as verdicts."""
ALLOWED_MS = 50
HEAD = f"{'attack':13} {'CPU s':>6} {'of s':>6} {'peak MiB':>9} {'children':>8}   {'/healthz: median':>16} {'slowest':>9} {'quiet':>8}   what happened"


def worst(steps, noise):
    """The figures of an attack: sums, and the worst of its steps."""
    costs = [step.cost for step in steps if step.cost]
    health = [of for step in steps for of in step.health.values()]
    figure = lambda name, reduce: reduce([cost[name] for cost in costs], default=0)
    return {
        "cpu_seconds": sum(cost["cpu_seconds"] for cost in costs), "seconds": sum(cost["seconds"] for cost in costs),
        "rest_mib": costs[0]["rest_mib"] if costs else 0, "peak_mib": figure("peak_mib", max), "children_mib": figure("children_mib", max),
        "healthz": {"median_ms": max((of["median_ms"] for of in health), default=0),
                    "slowest_ms": max((of["slowest_ms"] for of in health), default=0), "failed": sum(of["failed"] for of in health)},
        "quiet_ms": max((of["slowest_ms"] for of in noise.values()), default=0)}


def violated(attack, steps, figures):
    """The bounds that an attack has broken, in words."""
    found, slowest, quiet = [], figures["healthz"]["slowest_ms"], figures["quiet_ms"]
    if slowest > ALLOWED_MS + quiet:
        found.append(f"/healthz took {slowest:,.0f} ms; {ALLOWED_MS + quiet:,.0f} ms are allowed")
    if figures["healthz"]["failed"]:
        found.append(f"{figures['healthz']['failed']} requests for /healthz failed")
    if figures["peak_mib"] > attack.memory_mib:
        found.append(f"the server took {figures['peak_mib']:,.0f} MiB; {attack.memory_mib:,} MiB are allowed")
    for step in steps:
        for name, fate in step.others.items():
            if fate["failed"]:
                found.append(f"{step.words}: {name}: {counted(fate['failed'])} of {fate['asked']:,}")
    return found


def counted(answers):
    return ", ".join(f"{what} x {count:,}" for what, count in sorted(answers.items(), key=lambda it: -it[1]))


def described(name, fate):
    text = f"{name}: {fate['succeeded']} of {fate['asked']} succeeded"
    if fate["succeeded"]:
        text += f", median {fate['median_ms']:.1f} ms, slowest {fate['slowest_ms']:,.0f} ms"
    if fate["failed"]:
        text += f"; failed within {fate['failed_seconds']:.1f} s: {counted(fate['failed'])}"
    return text


def line(name, words, figures, quiet):
    health = figures["healthz"]
    return (f"{name:13} {figures['cpu_seconds']:6.1f} {figures['seconds']:6.1f} {figures['peak_mib']:9,.0f} {figures['children_mib']:8,.0f}"
            f"   {health['median_ms']:13,.1f} ms {health['slowest_ms']:6,.0f} ms {quiet:5,.0f} ms   {words}")


def lines(attack, steps, noise):
    """An attack's line, and one for each of its steps."""
    figures = worst(steps, noise)
    yield line(attack.name, attack.words, figures, figures["quiet_ms"])
    for step in steps:
        others = [described(name, fate) for name, fate in step.others.items()]
        happened = "; ".join(([counted(step.answers)] if step.answers else []) + step.notes + others)
        failed = sum(of["failed"] for of in step.health.values())
        happened += f"; /healthz failed x {failed}" if failed else ""
        yield line("", f"{step.words}: {happened}", worst([step], noise), figures["quiet_ms"])


def record(attack, steps, noise):
    """The same for scripts."""
    figures = worst(steps, noise)
    return {"attack": attack.name, "words": attack.words, **figures, "noise": noise, "violated": violated(attack, steps, figures),
            "steps": [{"words": step.words, "answers": {str(it): count for it, count in step.answers.items()}, "notes": step.notes,
                       **step.cost, "healthz": step.health, "others": step.others} for step in steps]}
