"""The server's settings: environment variables `CLIPCORE_<NAME>`, each with a default and one line of help."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server.bearer import header_token
from server.guard import Authority

PREFIX = "CLIPCORE_"
#: What trainers and the engine read, beside the token.
TRAINERS_OWN = ("URL", "RUN_ID", "KERNELS")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _default_data_dir() -> Path:
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data_home) / "clipcore"


class Settings(BaseSettings):
    """What can be set; `Settings.table()` lists it for people."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8420, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    allow_remote: bool = Field(False, description="allow a non-loopback address although no token is set")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma-separated host names, besides localhost and HOST, that browsers may use"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma-separated addresses of proxies whose X-Forwarded-For is trusted"
    )
    token: str = Field("", repr=False, description="secret for trainers and for steering; empty: none")
    public_view: bool = Field(False, description="let everybody watch although a token is set; steering still needs it")
    read_only: bool = Field(False, description="show runs, but refuse every change of a training")
    data_dir: Path = Field(
        default_factory=_default_data_dir,
        description="directory of the database; by default clipcore in the user's data directory",
    )
    keep_runs: int = Field(50, ge=1, le=10_000, description="runs kept; the oldest that are not attached go first")
    autostart: str = Field("", description="workload to train as soon as the server is up; empty: none")
    max_workers: int = Field(2, ge=0, description="built-in workloads that may train at a time")
    max_viewers: int = Field(5000, ge=1, description="pages that may be connected at a time")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe level that is logged"
    )
    log_format: Literal["text", "json"] = Field("text", description="lines for people, or a JSON object a line")

    @field_validator("host")
    @classmethod
    def _address(cls, host: str) -> str:
        if not host:
            raise ValueError("expected a name or an address of this machine, got nothing (all of them: 0.0.0.0 or ::)")
        authority = Authority.of_setting(host)
        if authority.port is not None:
            raise ValueError(f"expected a name or an address without a port, got {host!r}: see CLIPCORE_PORT")
        return authority.host

    @field_validator("data_dir", mode="before")
    @classmethod
    def _directory(cls, directory: object) -> object:
        if not isinstance(directory, str | Path):
            return directory
        try:
            return Path(directory).expanduser() if str(directory) else _default_data_dir()
        except RuntimeError as error:
            raise ValueError(f"{error} in {str(directory)!r}") from None

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level

    @field_validator("allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            Authority.of_setting(name)
        return names

    @field_validator("token")
    @classmethod
    def _fit_for_a_header(cls, token: str) -> str:
        return header_token(token)

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ip_network(proxy, strict=False)
        return proxies

    @model_validator(mode="after")
    def _room_for_autostart(self) -> Self:
        if self.autostart and not self.max_workers:
            raise ValueError(
                f"CLIPCORE_AUTOSTART is {self.autostart}, but with CLIPCORE_MAX_WORKERS=0 nothing may train"
            )
        return self

    @model_validator(mode="after")
    def _not_open_by_accident(self) -> Self:
        if not (is_loopback(self.host) or self.token or self.allow_remote):
            raise ValueError(
                f"CLIPCORE_HOST is {self.host}, which other machines can reach, and then anybody there could steer a "
                "training: set CLIPCORE_TOKEN to a secret, or CLIPCORE_ALLOW_REMOTE=1 if that is what you want"
            )
        return self

    @property
    def database(self) -> Path:
        """The database file."""
        return self.data_dir / "clipcore.db"

    @property
    def url(self) -> str:
        """How this machine reaches the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """Variable, default as one would write it, and help of every setting."""
        return [
            (f"{PREFIX}{name.upper()}", _written(field.default), field.description or "")
            for name, field in cls.model_fields.items()
        ]


def unknown_variables(environment: Iterable[str]) -> dict[str, str]:
    """Variables with our prefix that nobody reads, and the setting that each is most like; "" when it is like none."""
    known = [*map(str.upper, Settings.model_fields), *TRAINERS_OWN]
    ours = sorted(name.removeprefix(PREFIX) for name in environment if name.startswith(PREFIX))
    return {
        f"{PREFIX}{name}": f"{PREFIX}{near[0]}" if (near := get_close_matches(name, known, n=1)) else ""
        for name in ours
        if name not in known
    }


def _written(default: object) -> str:
    match default:
        case bool():
            return str(int(default))
        case str() | int():
            return str(default)
        case _:
            return ""
