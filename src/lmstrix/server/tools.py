"""The tools: what an agent can ask of LMStrix."""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import getdoc
from typing import Annotated, Any, Final, Literal, TypeVar

import anyio
from anyio import to_thread
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from lmstrix.app import LMStrix
from lmstrix.engine.catalogue import Query, parse_sort
from lmstrix.engine.strategy import check_strategy
from lmstrix.plugins import InstalledStrategies
from lmstrix.server.errors import explained
from lmstrix.server.jobs import Job, Jobs, Work
from lmstrix.server.parameters import (
    DryRun,
    ModelName,
    ProofWord,
    Threshold,
    UnloadOthers,
    Wait,
    Words,
)
from lmstrix.server.views import JobKind, JobView, ModelPage, ModelSummary

Answer = TypeVar("Answer")

NUDGE: Final = 1e-6
"""Least step between two notes of progress, too small to be seen on a bar."""
POLL_S: Final = 0.05
TELL_S: Final = 1.0
"""Seconds between two notes of progress, well under the ten after which hosts lose patience."""

JobAnswer = Annotated[CallToolResult, JobView]
"""A job's view; of a failed job, marked as an error whose text is the reason and the remedy."""


class Tools:
    """The tools over one `LMStrix`, whose slow ones run as `jobs`."""

    def __init__(self, strix: LMStrix, jobs: Jobs) -> None:
        self._strix = strix
        self._jobs = jobs

    def all(self) -> Sequence[Tool]:
        """Return every tool, as the server lists them."""
        reading, working = _hints(read_only=True), _hints(read_only=False)
        return [
            _tool(self.list_models, "List models", reading),
            _tool(self.test_context, "Find a model's real context limit", working),
            _tool(self.test_all, "Find the real context limits of all models", working),
            _tool(self.infer, "Run a model", working),
            _tool(self.job, "Follow or stop a job", working),
        ]

    async def list_models(  # noqa: PLR0913 - the arguments are the tool's interface
        self,
        *,
        query: Words = "",
        tested: Annotated[
            Literal["any", "yes", "no"],
            Field(description="Only models for which a working context is known, or is not."),
        ] = "any",
        min_context: Annotated[
            int,
            Field(
                ge=0,
                description="Least context in tokens: the measured one, or the declared one of "
                "a model that was not tested.",
            ),
        ] = 0,
        sort: Annotated[
            str,
            Field(
                description="Order: id, ctx (measured context), declared, size, tps (speed) or "
                "ttft (seconds to the first token); with a `d` behind, reversed: ctxd."
            ),
        ] = "id",
        limit: Annotated[int, Field(ge=1, le=200, description="Most models to return.")] = 50,
        offset: Annotated[int, Field(ge=0, description="Models to skip: `next_offset`.")] = 0,
        detail: Annotated[
            bool, Field(description="Everything known of each model, instead of the short form.")
        ] = False,
        refresh: Annotated[
            bool, Field(description="Look for new models first, instead of using what is known.")
        ] = False,
    ) -> ModelPage:
        """List the local models, with the context each was seen to really hold.

        `usable` is the largest context that worked when it was full, on this machine; `declared`
        is only what the model file claims. Choose a model here before `infer`; where `usable` is
        null, `test_context` finds it.
        """
        with explained():
            key, descending = parse_sort(sort)
        wanted = Query(
            query=query,
            tested=tested,
            min_context=min_context,
            sort=key,
            descending=descending,
            limit=limit,
            offset=offset,
        )
        page = await ask(partial(self._strix.list_models, refresh=refresh, query=wanted))
        return ModelPage(
            models=page.models if detail else tuple(map(ModelSummary.of, page.models)),
            total=page.total,
            next_offset=page.next_offset,
        )

    async def test_context(  # noqa: PLR0913 - the arguments are the tool's interface
        self,
        *,
        ctx: Context,
        model: ModelName,
        context: Annotated[
            int, Field(ge=0, description="Probe this one context, in tokens; 0 searches.")
        ] = 0,
        proof: ProofWord = "fill",
        strategy: Annotated[
            str,
            Field(
                description="How the next context is chosen: certify (by measured memory; hardly "
                "a load fails), exact (to 1 024 tokens), climb (without memory readings), bisect, "
                "or the name of one that is installed."
            ),
        ] = "certify",
        threshold: Threshold = 102_400,
        force: Annotated[
            bool,
            Field(description="Also probe sizes at which an earlier probe was interrupted."),
        ] = False,
        unload_others: UnloadOthers = False,
        dry_run: DryRun = False,
        wait_s: Wait = 45,
    ) -> JobAnswer:
        """Find the largest context a model really holds on this machine, by loading and trying it.

        Takes minutes and most of the memory; with `unload_others`, a model that the user runs may
        have to make room, and is loaded again afterwards. If it is not over after `wait_s` the
        answer is a running job: follow it with `job`. It goes on until it ends, `job` cancels it
        or the server exits. Every probe is recorded as it ends: a test that was broken off is
        resumed by the same call, and a limit found under an older runtime is verified by one probe
        before anything is searched.
        """
        with explained():
            check_strategy(strategy, InstalledStrategies())  # before the job's turn comes
        found = await ask(partial(self._strix.resolve, model))
        work = partial(
            self._strix.test_context,
            found.key,
            context=context,
            proof=proof,
            strategy=strategy,
            threshold=threshold,
            force=force,
            unload_others=unload_others,
            dry_run=dry_run,
        )
        return await self._run("test_context", work, ctx, wait_s)

    async def test_all(  # noqa: PLR0913 - the arguments are the tool's interface
        self,
        *,
        ctx: Context,
        query: Words = "",
        proof: ProofWord = "answer",
        threshold: Threshold = 102_400,
        retest: Annotated[
            bool,
            Field(description="Measure afresh, models included whose limits are known already."),
        ] = False,
        unload_others: UnloadOthers = False,
        dry_run: DryRun = False,
        wait_s: Wait = 45,
    ) -> JobAnswer:
        """Test every model that `query` finds, all of them by default, the smallest one first.

        Takes minutes for each, up to hours in all, and most of the memory; `dry_run` tells
        beforehand. The result has a report for each model that was tested, and `skipped` says why
        others were not; one that fails does not stop the rest. With `unload_others`, a model that
        the user runs may have to make room, and is loaded again afterwards. If it is not over after
        `wait_s` the answer is a running job: follow it with `job`. Every probe is recorded as it
        ends: the same call resumes what was broken off, and passes over what is done.
        """
        work = partial(
            self._strix.test_all,
            query=Query(query=query),
            proof=proof,
            strategy="certify",
            threshold=threshold,
            reset=retest,
            unload_others=unload_others,
            dry_run=dry_run,
        )
        return await self._run("test_all", work, ctx, wait_s)

    async def infer(  # noqa: PLR0913 - the arguments are the tool's interface
        self,
        *,
        ctx: Context,
        model: ModelName,
        prompt: Annotated[str, Field(description="What to answer or continue.")] = "",
        system: Annotated[
            str, Field(description="System prompt, for models with a chat template.")
        ] = "",
        in_ctx: Annotated[
            int,
            Field(ge=0, description="Context to load, in tokens; 0 chooses one that works."),
        ] = 0,
        out_ctx: Annotated[
            int, Field(ge=0, description="Most tokens to generate; 0 leaves it to LMStrix.")
        ] = 0,
        temperature: Annotated[
            float, Field(ge=-1, le=5, description="Randomness; -1 leaves it to the runtime.")
        ] = -1,
        force_reload: Annotated[
            bool, Field(description="Load a new copy even if a loaded one would do.")
        ] = False,
        wait_s: Wait = 45,
    ) -> JobAnswer:
        """Run a local model on a prompt, loading it with a context that it was seen to hold.

        If there is no answer after `wait_s` you get a running job: follow it with `job`. It goes
        on until it ends, `job` cancels it or the server exits.
        """
        found = await ask(partial(self._strix.resolve, model))
        work = partial(
            self._strix.infer,
            found.key,
            prompt,
            system=system,
            in_ctx=in_ctx or None,
            out_ctx=out_ctx or None,
            temperature=None if temperature < 0 else temperature,
            force_reload=force_reload,
        )
        return await self._run("infer", work, ctx, wait_s)

    async def job(
        self,
        *,
        ctx: Context,
        job_id: Annotated[
            str, Field(description="A job's id, as another tool gave it; empty: the newest.")
        ] = "",
        action: Annotated[
            Literal["wait", "cancel", "list"],
            Field(
                description="wait: for its end or `wait_s`; cancel: stop it after the step under "
                "way; list: all jobs."
            ),
        ] = "wait",
        wait_s: Wait = 45,
    ) -> JobAnswer:
        """Follow a job that outlasted its call, stop it, or list the jobs of this server.

        Results stay here until the server exits, the last hundred of them.
        """
        if action == "list":
            return _answer(self._jobs.listing())
        with explained():
            job = self._jobs.find(job_id)
        if action == "cancel":
            job.cancel()
        return _answer(await follow(job, ctx, wait_s))

    async def _run(self, kind: JobKind, work: Work, ctx: Context, wait_s: float) -> JobAnswer:
        return _answer(await follow(self._jobs.start(kind, work), ctx, wait_s))


async def ask(call: Callable[[], Answer]) -> Answer:
    """Return what `call` returns, which blocks: in a thread, given up if the caller gives up.

    Raises:
        ToolError: LMStrix refused or failed; the text says why.
    """
    with explained():
        return await to_thread.run_sync(call, abandon_on_cancel=True)


async def follow(job: Job, ctx: Context, wait_s: float) -> JobView:
    """Wait up to `wait_s` seconds for the end of `job`, and tell its progress meanwhile.

    The job does not notice if the waiting is cancelled.
    """
    told, due = -NUDGE, anyio.current_time()
    with anyio.move_on_after(wait_s):
        while not (view := job.view).ended:
            if anyio.current_time() >= due:
                # The protocol wants every number larger than the last, also while nothing moves.
                told = max(view.done, round(told + NUDGE, 6))
                await ctx.report_progress(told, view.total, view.message)
                due += TELL_S
            await anyio.sleep(POLL_S)
    return job.view


def _answer(whole: JobView) -> CallToolResult:
    view, failed = whole.brief(), whole.status == "failed"
    text = view.error if failed and view.error else view.model_dump_json()
    return CallToolResult(
        content=[TextContent(text=text)],
        structured_content=view.model_dump(mode="json"),
        is_error=failed,
    )


def _tool(function: Callable[..., Any], title: str, hints: ToolAnnotations) -> Tool:
    # The SDK would send the docstring as it stands in the source, line breaks and all.
    description = " ".join((getdoc(function) or "").split())
    return Tool.from_function(function, title=title, description=description, annotations=hints)


def _hints(*, read_only: bool) -> ToolAnnotations:
    # Nothing of the user's is unloaded or deleted, and nothing beyond the local runtime is reached.
    return ToolAnnotations(
        read_only_hint=read_only,
        destructive_hint=False,
        idempotent_hint=read_only,
        open_world_hint=False,
    )
