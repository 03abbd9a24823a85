"""The settings every server has; each server's own class adds its fields."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)

from .declaration import check_declaration
from .environment import default_state_dir
from .fields import DefaultShown, Group, Kind, Metavar
from .secret import FileSecret

LIMITS = Group("Limits")
HOSTING = Group("Hosting")
AUDIT = Group("Audit and telemetry")

UNNAMED = "unnamed"
MAX_PORT = 65_535
HARD_RESULT_TOKENS = 25_000


def _full_path(path: Path) -> Path:
    try:
        return path.expanduser().absolute()  # clients start servers in folders nobody chose
    except RuntimeError as error:
        raise ValueError("`~` stands for a home folder, and this user has none") from error


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = bare != host
    right_port = port.isascii() and port.isdecimal() and int(port) <= MAX_PORT
    if not bare or not right_port or (":" in bare) != bracketed:
        raise ValueError("should be HOST:PORT, for example 127.0.0.1:8000 or [::1]:8000")
    return text


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


UserPath = Annotated[Path, AfterValidator(_full_path)]
"""A path as people write it: `~` is expanded, and the result is absolute."""

Folder = Annotated[UserPath, Kind("directory")]
Address = Annotated[str, AfterValidator(_address), Metavar("HOST:PORT")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower), Metavar("LEVEL")]


class ServerSettings(BaseModel):
    """What every server can be told. Subclass it: one annotated, described field for each setting.

    A field is at once `--its-name`, `MCP_BULKHEAD_<SERVER>_ITS_NAME` and `its_name` in the file of --config.
    """

    # Built on first use: the base class itself is never instantiated, and its validator would be built for nothing.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False, defer_build=True
    )

    _server: str = PrivateAttr(default=UNNAMED)

    config: Annotated[
        UserPath | None, Field(description="A TOML file with settings. No file is read unless named.")
    ] = None
    toolsets: Annotated[
        tuple[str, ...], DefaultShown("this server's own choice"), Field(description="The groups of tools to offer.")
    ] = ()
    read_only: Annotated[bool, Field(description="Change nothing, whatever the other settings allow.")] = False

    deadline_s: Annotated[
        float, LIMITS, Field(gt=0, le=3600, description="Seconds a call may take, unless its tool names its own limit.")
    ] = 30.0
    max_concurrency: Annotated[int, LIMITS, Field(ge=1, le=1024, description="Calls that may run at once.")] = 16
    max_concurrency_per_caller: Annotated[
        int, LIMITS, Field(ge=1, le=1024, description="Calls that one caller may have running at once.")
    ] = 4
    rate_limit_per_minute: Annotated[
        int, LIMITS, Field(ge=0, description="Calls of one tool by one caller in any 60 seconds; 0 = no limit.")
    ] = 120
    budget_calls_per_hour: Annotated[
        int | None, LIMITS, Field(ge=1, description="Calls one caller may make in an hour.")
    ] = None
    budget_bytes_per_hour: Annotated[
        int | None, LIMITS, Field(ge=1, description="Bytes of results one caller may receive in an hour.")
    ] = None
    budget_cost_per_hour: Annotated[
        float | None, LIMITS, Field(gt=0, description="Cost units one caller may spend in an hour.")
    ] = None
    budget_steps_per_session: Annotated[
        int | None,
        LIMITS,
        Field(ge=1, description="Calls one session may make in all; 50 stops a looping agent early."),
    ] = None
    repeat_limit: Annotated[
        int,
        LIMITS,
        Field(ge=0, description="Identical reads in a row, with the same answer, before one is refused; 0 = no limit."),
    ] = 3
    max_request_bytes: Annotated[
        int, LIMITS, Field(ge=1024, description="The largest request that is read, on stdio and on HTTP.")
    ] = 4 * 1024 * 1024
    max_result_tokens: Annotated[
        int,
        LIMITS,
        Field(ge=100, le=HARD_RESULT_TOKENS, description="Result size (tokens of 4 characters) of one call."),
    ] = 5_000
    hard_result_tokens: Annotated[
        int, LIMITS, Field(ge=100, le=HARD_RESULT_TOKENS, description="The most a call may ask for with max_tokens.")
    ] = HARD_RESULT_TOKENS
    kill_switch: Annotated[
        UserPath | None,
        LIMITS,
        DefaultShown("STATE_DIR/SERVER/kill"),
        Field(description="A file naming tools (or `all`) to stop; it may appear and change while the server runs."),
    ] = None

    http: Annotated[
        Address | None, HOSTING, Field(description="Serve streamable HTTP at HOST:PORT instead of stdio.")
    ] = None
    allowed_hosts: Annotated[
        tuple[str, ...],
        HOSTING,
        Field(description="Host headers to answer; needed when not bound to this machine only."),
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...], HOSTING, Field(description="Origins of browser pages that may call this server.")
    ] = ()
    http_token: Annotated[
        SecretStr | None,
        HOSTING,
        Field(min_length=16, description="The key HTTP callers must send as `Authorization: Bearer`."),
    ] = None
    tenant: Annotated[
        str,
        HOSTING,
        Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="The tenant that calls over stdio are recorded under."),
    ] = "local"
    scopes: Annotated[
        tuple[str, ...] | None,
        HOSTING,
        DefaultShown("all"),
        Field(description="The scopes the local user has over stdio."),
    ] = None
    cursor_key: Annotated[
        SecretStr | None,
        HOSTING,
        DefaultShown("made at start"),
        Field(min_length=32, description="Signs continuation cursors; give several workers of one server the same."),
    ] = None

    log_level: Annotated[
        LogLevel,
        AUDIT,
        DefaultShown("warning; info with --http"),
        # Some clients show every line on stderr as a warning.
        Field(description="The least severe log lines to write to stderr."),
    ] = "warning"
    log_args: Annotated[
        bool, AUDIT, Field(description="Write the arguments of calls into the log, not only a digest.")
    ] = False
    state_dir: Annotated[
        Folder,
        AUDIT,
        DefaultShown("this user's state folder, for example ~/.local/state/mcp-bulkhead"),
        Field(description="Where audit records, keys and the kill switch live."),
    ] = Field(default_factory=default_state_dir)
    audit: Annotated[bool, AUDIT, Field(description="Keep a signed, chained record of every call.")] = True
    audit_retention_days: Annotated[
        int, AUDIT, Field(ge=1, description="Days after which whole audit segments are removed.")
    ] = 30
    audit_max_mb: Annotated[
        int, AUDIT, Field(ge=16, description="Megabytes of audit after which the oldest segments are removed early.")
    ] = 1024
    audit_payloads: Annotated[
        bool, AUDIT, Field(description="Also keep full arguments and results, in a separate private file.")
    ] = False
    otlp_endpoint: Annotated[
        str | None, AUDIT, Field(description="Send OpenTelemetry traces and metrics to this OTLP/HTTP endpoint.")
    ] = None
    metrics: Annotated[bool, AUDIT, Field(description="Serve Prometheus metrics at /metrics (with --http).")] = False

    @property
    def server(self) -> str:
        return self._server

    @property
    def http_address(self) -> tuple[str, int] | None:
        """`http` as a socket wants it."""
        if self.http is None:
            return None
        host, _, port = self.http.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    @property
    def server_state_dir(self) -> Path:
        return self.state_dir / self._server

    @property
    def audit_dir(self) -> Path:
        return self.server_state_dir / "audit"

    @property
    def kill_file(self) -> Path:
        return self.kill_switch or self.server_state_dir / "kill"

    @property
    def own_places(self) -> tuple[Path, ...]:
        """What only this server and its operator may see or change: state and keys, the kill switch, its settings."""
        secrets = (getattr(self, name) for name in type(self).model_fields)
        files = [secret.path for secret in secrets if isinstance(secret, FileSecret)]
        config = [] if self.config is None else [self.config]
        return (self.state_dir, self.kill_file, *config, *files)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        check_declaration(cls)

    @model_validator(mode="before")
    @classmethod
    def _hosted_servers_log_more(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        values = cast("Mapping[str, Any]", given)
        return {**values, "log_level": "info"} if values.get("http") and "log_level" not in values else values

    @model_validator(mode="after")
    def _budget_fits_its_cap(self) -> Self:
        if self.max_result_tokens > self.hard_result_tokens:
            raise ValueError("max_result_tokens may not be more than hard_result_tokens")
        return self

    def model_post_init(self, context: Any, /) -> None:
        if isinstance(context, Mapping):
            self._server = str(cast("Mapping[str, Any]", context).get("server", UNNAMED))
