"""One container of a prediction server: what it may do, what it sees, where it is."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from andon.adapters.identity import STOP_SECONDS
from andon.errors import TargetError
from andon.ports import ServerSpec
from andon.settings import DockerTarget as Options
from andon.settings import Settings

if TYPE_CHECKING:
    from docker import APIClient

# Labels: whose it is, what it serves, and where.
STATE, NAME, DIGEST, ADDRESS = "andon.state", "andon.server", "andon.digest", "andon.address"
PORT = 8080
NOBODY = 10001  # the image's own user
LOGS, FEEDBACK = "/logs/inference", "/logs/feedback"
PROCESSES = 256
# No health check of the engine's: the line and the gateway ask anyway, and a Python started every
# few seconds would count as the server's own use of CPU and memory.
HEALTH = {"test": ["NONE"]}
ADDRESSES_TRIED = 20


def run(api: APIClient, settings: Settings, spec: ServerSpec, image: str, options: Options) -> None:
    """Create and start it; nothing of it is left if that fails. Raises TargetError, APIError.

    Its address is its own for as long as it is there: one that changed with a restart could be
    another version's by the time the gateway knows.
    """
    import docker

    subnet, taken = _network(api, options.network), _taken(api, options.network)
    for _ in range(ADDRESSES_TRIED):
        address = _free(subnet, taken)
        identity = _create(api, settings, spec, image, (options, address))
        try:
            api.start(identity)
        except docker.errors.APIError as error:
            api.remove_container(identity, v=True, force=True)
            if "address already in use" not in str(error.explanation).lower():
                raise
            taken.add(address)  # somebody else's, who does not label
        else:
            return
    raise TargetError(f"{spec.name}: no free address in network {options.network} ({subnet})")


def _create(
    api: APIClient,
    settings: Settings,
    spec: ServerSpec,
    image: str,
    where: tuple[Options, IPv4Address],
) -> str:
    import docker

    options, address = where
    name, (user, group) = f"{options.prefix}-{spec.name}", owner(settings)
    command = ["--environment", spec.environment, "--log-dir", LOGS, "--feedback-dir", FEEDBACK]
    endpoints: Any = {options.network: api.create_endpoint_config(ipv4_address=str(address))}
    try:
        made = api.create_container(
            image,
            command,
            name=name,
            user=f"{user}:{group}",
            labels={
                STATE: str(settings.state),
                NAME: spec.name,
                DIGEST: spec.digest,
                ADDRESS: str(address),
            },
            healthcheck=HEALTH,
            stop_timeout=STOP_SECONDS,
            host_config=_limits(api, options, _folders(settings, spec, user, group)),
            networking_config=api.create_networking_config(endpoints),
        )
    except docker.errors.APIError as error:
        if error.status_code != 409:
            raise
        raise TargetError(
            f"{spec.name}: there is a container {name} that is not of this line "
            f"({settings.state}): remove it, or set another "
            f"environments.{spec.environment}.target.prefix in andon.yaml"
        ) from None
    return str(made["Id"])


def _limits(api: APIClient, options: Options, folders: dict[Path, str]) -> Any:
    from docker.types import LogConfig, Mount

    memory = None if options.memory_mb is None else options.memory_mb * 2**20
    return api.create_host_config(
        # Whatever ends comes back. Not "unless-stopped": to an engine that was killed and comes up
        # again, all it finds running counts as stopped by hand.
        restart_policy={"Name": "always"},
        init=True,  # a server that is process 1 would get no signal that it does not handle
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        pids_limit=PROCESSES,
        tmpfs={"/tmp": "size=64m,mode=1777,noexec,nosuid,nodev"},  # noqa: S108 - the container's
        mem_limit=memory,
        memswap_limit=memory,
        nano_cpus=None if options.cpus is None else int(options.cpus * 1e9),
        log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
        mounts=[Mount(place, str(folder), type="bind") for folder, place in folders.items()],
    )


def _folders(settings: Settings, spec: ServerSpec, user: int, group: int) -> dict[Path, str]:
    """Its own part of the logs, and not those of others; made here, so that it may write there."""
    own = Path(spec.environment, spec.model)
    folders = {
        settings.inference_log / own / spec.version: f"{LOGS}/{own}/{spec.version}",
        settings.feedback_log / own: f"{FEEDBACK}/{own}",
    }
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, user, group)
    return folders


def owner(settings: Settings) -> tuple[int, int]:
    """User and group of a container: who owns the state, but never root."""
    found = settings.state.stat()
    return (found.st_uid, found.st_gid) if found.st_uid else (NOBODY, NOBODY)


def _network(api: APIClient, name: str) -> IPv4Network:
    """The network's addresses; made if it is absent, without a way out.

    Only in a network whose addresses were asked for may a container choose its own. So the engine
    is asked which it would take, and then for those.
    """
    import docker
    from docker.types import IPAMConfig, IPAMPool

    try:
        return _addresses(api, name)
    except docker.errors.NotFound:
        pass
    options: dict[str, Any] = {"driver": "bridge", "internal": True, "check_duplicate": True}
    try:
        probe = api.create_network(f"{name}-addresses", **options)["Id"]
        pool = IPAMPool(subnet=str(_addresses(api, probe)))
        api.remove_network(probe)
        api.create_network(name, **options, ipam=IPAMConfig(pool_configs=[pool]))
    except docker.errors.APIError as error:
        if error.status_code != 409:  # another run makes it
            raise
    return _addresses(api, name)


def _addresses(api: APIClient, name: str) -> IPv4Network:
    found = api.inspect_network(name)
    for it in found["IPAM"]["Config"] or ():
        if ":" not in it["Subnet"] and found["Driver"] == "bridge":
            return IPv4Network(it["Subnet"])
    raise TargetError(
        f"network {name}: expected a bridge network with IPv4 addresses, such as `docker network "
        f"create --subnet 172.30.0.0/16 NAME` makes; found driver {found['Driver']}"
    )


def _taken(api: APIClient, network: str) -> set[IPv4Address]:
    """Addresses of all our containers there, running or not."""
    found = api.containers(all=True, filters={"network": network})
    labels = [it["Labels"].get(ADDRESS) for it in found]
    gateways = [it.get("Gateway") for it in api.inspect_network(network)["IPAM"]["Config"]]
    return {IPv4Address(it) for it in [*labels, *gateways] if it}


def _free(subnet: IPv4Network, taken: set[IPv4Address]) -> IPv4Address:
    """The first that nobody has, after the one that is usually the gateway's."""
    for address in subnet.hosts():
        if address not in taken and address != subnet.network_address + 1:
            return address
    raise TargetError(f"no free address in {subnet}")
