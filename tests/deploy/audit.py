"""Compares what a router did, as the API server's audit log tells it, with what it may do.

    audit.py AUDIT_LOG ACCOUNT MANIFEST…

MANIFEST: files with the Roles and bindings that were applied. Prints what was forbidden and which
granted verbs were never used, and ends with 1 if there is any of that. The log has to have been written
with tests/controlplane/audit.yaml.
"""

import dataclasses
import json
import sys

import chart

# Stages that have the answer's code; a watch that runs has only begun.
ANSWERED = ("ResponseStarted", "ResponseComplete", "Panic")
FORBIDDEN = 403


@dataclasses.dataclass(frozen=True)
class Right:
    """One verb on one resource, with its API group, in a namespace or (none) in all."""

    verb: str
    group: str
    resource: str
    namespace: str | None = None
    names: tuple = ()

    def __str__(self):
        group = f".{self.group}" if self.group else ""
        place = f"in {self.namespace}" if self.namespace else "in all namespaces"
        names = f" named {', '.join(self.names)}" if self.names else ""
        return f"{self.verb} {self.resource}{group}{names} {place}"


@dataclasses.dataclass(frozen=True)
class Call:
    """One kind of call as it was made: what for, and how it was answered."""

    verb: str
    group: str
    resource: str
    namespace: str | None
    name: str | None
    code: int

    def __str__(self):
        group = f".{self.group}" if self.group else ""
        place = f"in {self.namespace}" if self.namespace else "in all namespaces"
        name = f" {self.name}" if self.name else ""
        return f"{self.verb} {self.resource}{group}{name} {place}: {self.code}"


def rights(objects, account):
    """What the bindings among the objects give to a service account."""
    _, _, namespace, name = account.split(":")
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    roles = {}
    for one in objects:
        if one["kind"] in ("Role", "ClusterRole"):
            roles[one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]] = one
    found = set()
    for binding in objects:
        if binding["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        if subject not in binding["subjects"]:
            continue
        scope = binding["metadata"].get("namespace")
        reference = binding["roleRef"]
        place = scope if reference["kind"] == "Role" else None
        for rule in roles[reference["kind"], place, reference["name"]]["rules"]:
            found |= expanded(rule, scope)
    return found


def expanded(rule, scope):
    """A rule as single rights."""
    return {
        Right(verb, group, resource, scope, tuple(sorted(rule.get("resourceNames", ()))))
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def calls(lines, account):
    """What an account did, from the lines of an audit log; calls for no resource are left out."""
    found = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} of the audit log is not JSON: {error}") from error
        target = event.get("objectRef")
        if event["user"]["username"] != account or event["stage"] not in ANSWERED or not target:
            continue
        resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
        found.add(
            Call(
                event["verb"],
                target.get("apiGroup", ""),
                resource,
                target.get("namespace"),
                target.get("name"),
                event.get("responseStatus", {}).get("code", 0),
            )
        )
    return found


def uses(call, right):
    """Whether a call needs this right, or could do with it."""
    same = (call.verb, call.group, call.resource) == (right.verb, right.group, right.resource)
    here = right.namespace in (None, call.namespace)
    named = not right.names or call.name in right.names
    return same and here and named


def forbidden(made):
    return sorted((call for call in made if call.code == FORBIDDEN), key=str)


def unused(granted, made):
    """Granted verbs that no call used. The same right in several namespaces is one, used in any."""
    passed = [call for call in made if call.code != FORBIDDEN]
    used = {kind(right) for right in granted for call in passed if uses(call, right)}
    return sorted({right for right in granted if kind(right) not in used}, key=str)


def kind(right):
    return (right.verb, right.group, right.resource, right.names)


def ungranted(granted, made):
    """Calls that passed, though none of these rights allows them: others gave the account more."""
    passed = [call for call in made if call.code != FORBIDDEN]
    found = {call for call in passed if not any(uses(call, right) for right in granted)}
    return sorted(found, key=str)


def main(log, account, *manifests):
    granted = rights([one for path in manifests for one in chart.documents(path)], account)
    with open(log, encoding="utf-8") as lines:
        made = calls(lines, account)
    if not granted or not made:
        sys.exit(f"{account}: {len(granted)} rights, {len(made)} kinds of calls; nothing to compare")
    problems = [f"forbidden: {call}" for call in forbidden(made)]
    problems += [f"never used: {right}" for right in unused(granted, made)]
    problems += [f"by rights of others: {call}" for call in ungranted(granted, made)]
    print("\n".join(problems) or f"{len(granted)} rights, all used; nothing forbidden")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
