"""Cases: conversations with the route that each should take, one JSON object a line. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from plano_asgi.conversation import ApiFormat, LLMCall
from plano_asgi.errors import CasesError, Fault, WireFormatError
from plano_asgi.preferences import NO_ROUTE_NAME, RoutingPolicy
from plano_asgi.wire import FORMATS, read_document
from plano_asgi.wire.inline_policy import INLINE_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A call and where it should go.

    Attributes:
        call: The call, as the service would read it from a Chat Completions body.
        expect: The right route's name; None where no route should match.
        is_labelled: Whether `expect` was given; where it was not, it says nothing.
    """

    call: LLMCall
    expect: str | None
    is_labelled: bool = True


def read_cases(
    lines: Iterable[bytes], *, origin: str, policies: Mapping[str, RoutingPolicy], may_lack_labels: bool = False
) -> tuple[Case, ...]:
    """Return the cases that the lines hold, at least one; blank lines are passed over.

    A line is `{"messages": [...], "expect": "route" | null}`. Its messages are those of the Chat Completions API. Other
    keys are the author's own and not read, but for an inline policy, which is a fault: it would not be evaluated.

    Args:
        lines: The lines, each JSON in UTF-8.
        origin: What the lines are called in faults, such as the file's name.
        policies: The policies that the cases are for, under what they are called in faults.
        may_lack_labels: Whether a line without `expect` is a case all the same.

    Raises:
        CasesError: There is no case, or something is wrong with some; every fault names its line and quotes nothing.
    """
    cases: list[Case] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            case = _case(line, may_lack_label=may_lack_labels)
        except WireFormatError as error:
            faults.append(Fault(origin=f"{origin}:{number}", where="", what=error.message))
            continue
        cases.append(case)
        unknown = _unknown_routes(case, policies)
        faults += (Fault(origin=f"{origin}:{number}", where="expect", what=what) for what in unknown)
    if not cases and not faults:
        what = 'there are no cases; write one a line: {"messages": [...], "expect": "a route\'s name, or null"}'
        faults.append(Fault(origin=origin, where="", what=what))
    if faults:
        raise CasesError(faults)
    return tuple(cases)


def _case(line: bytes, *, may_lack_label: bool) -> Case:
    fields = read_document(line).value
    call = FORMATS[ApiFormat.CHAT_COMPLETIONS].read({"messages": fields.get("messages")})
    if not INLINE_KEYS.isdisjoint(fields):
        what = "a case brings no policy of its own; write its routes into the configuration"
        raise WireFormatError(what, code="invalid_value")
    if "expect" not in fields and may_lack_label:
        return Case(call=call, expect=None, is_labelled=False)
    if "expect" not in fields:
        what = "expect is missing; name the right route, or write null where none should match"
        raise WireFormatError(what, code="missing_required_parameter")
    expect = fields["expect"]
    if expect is not None and not isinstance(expect, str):
        raise WireFormatError("expect is a route's name, or null where none should match", code="invalid_type")
    return Case(call=call, expect=expect)


def _unknown_routes(case: Case, policies: Mapping[str, RoutingPolicy]) -> Iterator[str]:
    """Yield what is wrong with the expected route, for each policy that does not have it."""
    if case.expect == NO_ROUTE_NAME:
        yield "write null, without quotes, where no route should match"
        return
    for name, policy in policies.items():
        routes = [preference.name for preference in policy.preferences]
        if case.expect is not None and case.expect not in routes:
            nearest = get_close_matches(case.expect, routes, n=1)
            advice = f"did you mean {nearest[0]!r}?" if nearest else "name one of its routes, or write null for none"
            yield f"{name} has no route of this name; {advice}"
