"""The hooks that requests call: the functions of plugins, with the context of each plugin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from fhirstore.plugins import hookspecs
from fhirstore.plugins.context import PluginContext
from fhirstore.plugins.hooks import RequestHooks, with_all_arguments
from fhirstore.plugins.hookspecs import hookimpl
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins


class Complete:
    """Takes all arguments of its hook."""

    @hookimpl
    def validate(self, request: Any, write: Any, requirements: Any, context: PluginContext) -> list[Any]:
        return [self, request, write, requirements, context.plugin]


class Partial:
    """Takes some of them, in an order of its own."""

    @hookimpl
    def validate(self, context: PluginContext, write: Any) -> list[Any]:
        return [write, context.plugin]


def request_hooks(*plugins: tuple[str, object]) -> RequestHooks:
    loaded = Plugins([LoadedPlugin(name, "test", plugin) for name, plugin in plugins])
    return loaded.request_hooks(loaded.contexts())


def test_a_function_that_takes_all_arguments_is_called_without_a_wrapper() -> None:
    plugin = Complete()
    ((hook, context),) = request_hooks(("a", plugin)).validate
    assert hook == plugin.validate
    assert hook(1, 2, 3, context) == [plugin, 1, 2, 3, "a"]


def test_a_function_receives_the_arguments_that_it_names() -> None:
    ((hook, context),) = request_hooks(("b", Partial())).validate
    assert hook(1, 2, 3, context) == [2, "b"]


def test_the_plugin_named_first_is_called_first_with_its_own_context() -> None:
    hooks = request_hooks(("a", Partial()), ("b", Complete()), ("c", Partial()))
    assert [context.plugin for _, context in hooks.validate] == ["a", "b", "c"]


def test_a_plugin_can_ask_to_be_called_before_or_after_the_others() -> None:
    class First:
        @hookimpl(tryfirst=True)
        def before_commit(self) -> None: ...

    class Last:
        @hookimpl(trylast=True)
        def before_commit(self) -> None: ...

    class Other:
        @hookimpl
        def before_commit(self) -> None: ...

    hooks = request_hooks(("last", Last()), ("other", Other()), ("first", First()))
    assert [context.plugin for _, context in hooks.before_commit] == ["first", "other", "last"]


def test_hooks_without_an_implementation_are_empty() -> None:
    assert request_hooks() == RequestHooks()
    assert request_hooks(("a", Complete())).audit == ()


def test_each_of_them_is_specified_and_takes_the_context_last() -> None:
    manager = Plugins()
    for one in fields(RequestHooks):
        assert hasattr(hookspecs, one.name)
        assert getattr(manager.hook, one.name).spec.argnames[-1] == "context"


@pytest.mark.parametrize(
    ("function", "named", "expected"),
    [
        (lambda: "none", (), "none"),
        (lambda b: b, ("b",), 2),
        (lambda c, a: (c, a), ("c", "a"), (3, 1)),
        (lambda a, b, c: (a, b, c), ("a", "b", "c"), (1, 2, 3)),
    ],
)
def test_missing_arguments_are_left_out(function: Callable[..., Any], named: tuple[str, ...], expected: object) -> None:
    assert with_all_arguments(function, named, ("a", "b", "c"))(1, 2, 3) == expected
