"""The hooks that requests call, prepared at start so that a call costs no more than the function of the plugin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from fhirstore.plugins.context import PluginContext

BoundHook = tuple[Callable[..., Any], PluginContext]
"""A function that takes all arguments of its hook by position, and the context of the plugin, its last argument."""


@dataclass(frozen=True, slots=True)
class RequestHooks:
    """The hooks that requests call, each with the plugins that implement it, in the order of the calls:

        for hook, context in server.hooks.validate:
            issues += hook(request, write, requirements, context) or ()

    `plugins.hookspecs` describes them. In hooks marked "first result" the caller stops at the first result."""

    before_validate: tuple[BoundHook, ...] = ()
    profiles: tuple[BoundHook, ...] = ()
    validate: tuple[BoundHook, ...] = ()
    before_commit: tuple[BoundHook, ...] = ()
    complete_commit: tuple[BoundHook, ...] = ()
    after_commit: tuple[BoundHook, ...] = ()
    conditional_match: tuple[BoundHook, ...] = ()
    rewrite_search: tuple[BoundHook, ...] = ()
    before_return: tuple[BoundHook, ...] = ()
    authenticate: tuple[BoundHook, ...] = ()
    authorize: tuple[BoundHook, ...] = ()
    audit: tuple[BoundHook, ...] = ()


def with_all_arguments(
    function: Callable[..., Any], named: Sequence[str], all_arguments: Sequence[str]
) -> Callable[..., Any]:
    """The function, callable with all arguments of its hook by position.

    named: the arguments that the function takes. A function that takes all of them is returned itself."""
    if tuple(named) == tuple(all_arguments):
        return function
    positions = [all_arguments.index(name) for name in named]
    if not positions:
        return lambda *given: function()
    if len(positions) == 1:
        return lambda *given: function(given[positions[0]])
    select = itemgetter(*positions)
    return lambda *given: function(*select(given))
