"""One frozen settings object for every process of the hub.

A value comes from the first of these that has it:

    flags > environment (HUB_REGISTRY, HUB_PORT, …) > hub.toml > defaults

`hub.toml` is read from the working directory, or from the path in HUB_CONFIG or
`--config`. A bad value is refused with its name, its source and the limit; a key
that no setting has is refused too. `hub.settings_text` writes the outcome as TOML.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from hub.errors import SettingsError
from hub.isa import forced_isa

CONFIG_FILE: Final = "hub.toml"
PREFIX: Final = "HUB_"
_NO_SETTINGS: Final = ("config", "debug", "cpu_isa", "key", "tls_roots")
"""Variables that belong to a process, not to its settings."""

Positive = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Bytes = Annotated[ByteSize, Field(ge=1)]


def _split_words(value: object) -> object:
    """Read "a,b" as an environment variable or a flag has it; a list of TOML stays as it is."""
    if not isinstance(value, str):
        return value
    return tuple(word.strip() for word in value.split(",") if word.strip())


Words = Annotated[tuple[Text, ...], BeforeValidator(_split_words)]
"""A list: `["a", "b"]` in hub.toml, `a,b` elsewhere."""


def _default_registry() -> str:
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return str(Path(data) / "adapterhub" / "registry")


def _default_cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "adapterhub"


class Settings(BaseModel):
    """Everything that can be set, with its default and its limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    registry: Text = Field(
        default_factory=_default_registry, description="folder (or URL) of the registry"
    )
    base: Text = Field("embedded", description="base model: embedded, a folder or a HF id")
    languages: str = Field(
        "", description="languages of a base that does not say them: en,de or en=English,de=German"
    )
    runs: Path = Field(Path("runs"), description="folder that keeps training runs")
    cache: Path = Field(
        default_factory=_default_cache,
        description="folder that keeps converted bases and what was said about them",
    )

    host: Text = Field("127.0.0.1", description="address that the server listens on")
    port: int = Field(50051, ge=0, le=65535, description="gRPC port; 0 picks a free one")
    http_port: int | None = Field(
        None, ge=0, le=65535, description="HTTP port; none if unset, 0 picks a free one"
    )
    http_origins: Words = Field(
        (), description="other sites whose pages may call over HTTP: https://example.org, or *"
    )
    http_hosts: Words = Field(
        (), description="names that HTTP requests may ask for, where callers are not asked for keys"
    )
    metrics_port: int = Field(9464, ge=0, le=65535, description="Prometheus port; 0 picks one")
    metric_label_values: int = Field(
        8, ge=1, le=10_000, description="pairs, adapters and tenants that metrics tell apart"
    )
    tracing: str = Field(
        "off",
        pattern=r"^(off|otlp:https?://\S+|file:.+)$",
        description="traces: off, otlp:http://HOST:4317 (OpenTelemetry over gRPC) or file:PATH",
    )
    drain_seconds: float = Field(30.0, ge=0, le=3600, description="wait for running requests")
    tls_cert: Path | None = Field(None, description="certificate chain of the server (PEM)")
    tls_key: Path | None = Field(None, description="private key of that certificate (PEM)")
    tls_client_ca: Path | None = Field(
        None, description="authorities whose client certificates are required (PEM)"
    )
    keys: Path | None = Field(None, description="bearer keys of callers; see hub keys")
    jwt_jwks: str = Field("", description="keys of JSON Web Tokens: a JWKS file or https URL")
    jwt_issuer: str = Field("", description="issuer that tokens must have")
    jwt_audience: str = Field("", description="audience that tokens must be made for")
    jwt_tenant_claim: Text = Field("tenant", description="claim of a token that names the tenant")
    insecure_no_auth: Literal["", "yes-really"] = Field(
        "", description="yes-really: serve other machines without asking who calls"
    )
    max_message_bytes: Bytes = Field(ByteSize(16 * 2**20), description="largest message or body")
    max_upload_bytes: Bytes = Field(ByteSize(20 * 2**20), description="largest document")
    base_digest: str = Field(
        "",
        pattern=r"^(sha256:[0-9a-f]{64})?$",
        description="digest that the base must have to be served; any if empty",
    )

    log_format: Literal["text", "json"] = Field(
        "text", description="log of the server: text for people, or one JSON object a line"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged; warning leaves the lines of calls out"
    )
    log_texts: bool = Field(
        False, description="log the texts and translations of every request, too"
    )
    log_labels: Words = Field((), description="labels of requests that are logged: team,project")

    search: Literal["base", "greedy"] = Field(
        "base",
        description="search of requests that name none: the one that the base was published with "
        "(its generation_config.json), or greedy",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="where the engine runs: auto (a GPU if there is one), cpu, cuda or cuda:n",
    )
    quantization: Literal["auto", "float32", "bfloat16", "float16", "int8", "bnb-int8", "nf4"] = (
        Field("auto", description="numbers of the base; auto: int8 on a CPU, bfloat16 on a GPU")
    )
    vocabulary: Literal["full", "language"] = Field(
        "full",
        description="tokens that outputs choose from: all, or those of the target language",
    )
    vocabulary_bytes: Bytes = Field(
        ByteSize(2**28), description="memory for the output tables of languages and adapters"
    )
    engine: Literal["thread", "process"] = Field(
        "thread",
        description="where the engine runs: a thread of the server, or a process of its own, which "
        "takes more memory and keeps it and the event loop from waiting for each other",
    )
    threads: Positive | None = Field(None, description="CPU threads of the engine; all if unset")
    slots: int = Field(64, ge=1, le=4096, description="adapters placed on the device at once")
    host_adapter_bytes: Bytes = Field(ByteSize(2**30), description="adapters kept in memory")
    spill_adapter_bytes: Bytes = Field(
        ByteSize(4 * 2**30), description="disk for adapters that left memory; 0 for none"
    )
    device_adapter_bytes: Bytes = Field(ByteSize(2**29), description="adapters kept on the device")

    feedback_url: str = Field(
        "",
        description="store of post-edits: URL of a database, path of a SQLite file, or off; "
        "feedback.sqlite3 in the registry if empty",
    )

    routes: Path | None = Field(None, description="routes file; see hub serve --print-routes")
    route_alias: Text = Field(
        "prod", description="alias whose adapters serve requests that name none"
    )
    overload_rungs: bool = Field(
        False, description="serve the cheaper adapters of the routes file under overload"
    )

    golden_interval: float = Field(
        3600.0,
        ge=0,
        le=30 * 86_400,
        description="seconds after which an adapter's golden lines are translated again; 0: never",
    )
    second_try: bool = Field(
        True,
        description="translate what a routed adapter has translated into a wrong language, into a "
        "loop or into nothing once more, with its next rung or the base",
    )

    max_batch_rows: Positive = Field(64, description="rows (beams counted) of one step")
    max_batch_tokens: Positive = Field(4096, description="source tokens of one encoder pass")
    queue: Positive = Field(1024, description="requests that may wait")
    max_contents: Positive = Field(256, description="texts in one request")
    max_content_characters: Positive = Field(30_000, description="characters of one text")
    max_source_tokens: Positive = Field(256, description="tokens of one text")
    max_beam: int = Field(16, ge=1, le=64, description="widest beam")

    @field_validator("registry", "base")
    @classmethod
    def _expand_home(cls, value: str) -> str:
        return str(Path(value).expanduser()) if value.startswith("~") else value

    @field_validator("runs", "cache", "routes", "tls_cert", "tls_key", "tls_client_ca", "keys")
    @classmethod
    def _expand_home_path(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()


# name → (value, where it came from)
_Sourced = dict[str, tuple[Any, str]]


@dataclass(frozen=True, slots=True)
class EffectiveSettings:
    """Settings, and where each came from.

    Attributes:
        sources: Setting name → a flag, a variable or a file; a name that is missing has its
            default.
        file: The configuration file that was read, None if there was none.
    """

    settings: Settings
    sources: Mapping[str, str]
    file: Path | None = None


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    config: Path | None = None,
) -> Settings:
    """Gather the settings of this process.

    Args:
        flags: Values given on the command line, by setting name; None means that
            the flag was not given.
        environ: The environment; the process's own by default.
        folder: Where to look for hub.toml; the working directory by default.
        config: The file to read in place of hub.toml and of what HUB_CONFIG names.

    Raises:
        SettingsError: A value is bad, a key unknown, or hub.toml not readable.
    """
    return effective_settings(flags, environ=environ, folder=folder, config=config).settings


def effective_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    config: Path | None = None,
) -> EffectiveSettings:
    """Gather the settings of this process, and where each came from; see `load_settings`."""
    environ = os.environ if environ is None else environ
    file = _config_file(environ, folder or Path(), config)
    sources = {**_from_file(file), **_from_environment(environ), **_from_flags(flags or {})}
    try:
        values = {name: value for name, (value, _) in sources.items()}
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise _explain(error, sources) from None
    told = MappingProxyType({name: source for name, (_, source) in sources.items()})
    return EffectiveSettings(settings, told, file)


def _from_flags(flags: Mapping[str, Any]) -> _Sourced:
    given = {name: value for name, value in flags.items() if value is not None}
    return {name: (value, f"--{name.replace('_', '-')}") for name, value in given.items()}


def _from_environment(environ: Mapping[str, str]) -> _Sourced:
    found: _Sourced = {}
    forced_isa(environ)  # of the environment alone; a bad name is refused here, at once
    for key, value in environ.items():
        name = key.removeprefix(PREFIX).lower()
        if not key.startswith(PREFIX) or name in _NO_SETTINGS:
            continue
        if name in Settings.model_fields:
            found[name] = (value, key)
        else:
            _refuse_misspelt(key, name)
    return found


def _refuse_misspelt(key: str, name: str) -> None:
    """Refuse a near miss; another program's HUB_* variable is none of ours."""
    known = [*Settings.model_fields, *_NO_SETTINGS]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    if close:
        raise SettingsError(
            f"environment variable {key} is not a setting; did you mean {PREFIX}{close[0].upper()}?"
        )


def _config_file(environ: Mapping[str, str], folder: Path, config: Path | None) -> Path | None:
    """Return the file to read, None where there is none and none was asked for."""
    if config is not None:
        named, by = str(config), "--config"
    else:
        named, by = environ.get(f"{PREFIX}CONFIG", ""), "HUB_CONFIG"
    if not named:
        path = folder / CONFIG_FILE
        return path if path.exists() else None
    path = Path(named).expanduser()
    if not path.exists():
        raise SettingsError(f"{by} names {named!r}, which does not exist")
    return path


def _from_file(path: Path | None) -> _Sourced:
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read settings from {path}: {error}") from None
    return {name: (value, str(path)) for name, value in table.items()}


def _explain(error: ValidationError, sources: _Sourced) -> SettingsError:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    value, source = sources.get(name, (first.get("input"), "default"))
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Settings.model_fields, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "remove it"
        return SettingsError(f"setting {name!r} (from {source}) does not exist; {hint}", field=name)
    message = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "string_unicode":
        message = "it is not text in this locale; set LC_ALL=C.UTF-8, or use another name"
    return SettingsError(f"setting {name} = {value!r} (from {source}): {message}", field=name)
