# The town on workerd: town/serve PORT STATE_DIR, or by hand (docs/town.md):
#   workerd serve town/town.capnp --socket-addr http=127.0.0.1:PORT --directory-path state=DIR
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "town", worker = .town),
    (name = "state", disk = (path = "/nonexistent", writable = true)),
    # The default network refuses loopback and private addresses, where the container is. What may be called is decided in code
    # (CONTROL_URL_ALLOW), before a socket is opened.
    (name = "internet", network = (allow = ["public", "private", "local"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "town")],
);

const town :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  # Names are paths from the repository's root, so that the imports between them resolve as they do on disk.
  modules = [
    (name = "town/src/worker.js", esModule = embed "src/worker.js"),
    (name = "town/src/backoff.js", esModule = embed "src/backoff.js"),
    (name = "town/src/checkpoints.js", esModule = embed "src/checkpoints.js"),
    (name = "town/src/clock.js", esModule = embed "src/clock.js"),
    (name = "town/src/container_life.js", esModule = embed "src/container_life.js"),
    (name = "town/src/control.js", esModule = embed "src/control.js"),
    (name = "town/src/desired_state.js", esModule = embed "src/desired_state.js"),
    (name = "town/src/dispatcher.js", esModule = embed "src/dispatcher.js"),
    (name = "town/src/errors.js", esModule = embed "src/errors.js"),
    (name = "town/src/fencing.js", esModule = embed "src/fencing.js"),
    (name = "town/src/idempotency.js", esModule = embed "src/idempotency.js"),
    (name = "town/src/json.js", esModule = embed "src/json.js"),
    (name = "town/src/jwt.js", esModule = embed "src/jwt.js"),
    (name = "town/src/limits.js", esModule = embed "src/limits.js"),
    (name = "town/src/mail.js", esModule = embed "src/mail.js"),
    (name = "town/src/names.js", esModule = embed "src/names.js"),
    (name = "town/src/prime.js", esModule = embed "src/prime.js"),
    (name = "town/src/recovery.js", esModule = embed "src/recovery.js"),
    (name = "town/src/redact.js", esModule = embed "src/redact.js"),
    (name = "town/src/registry.js", esModule = embed "src/registry.js"),
    (name = "town/src/routes.js", esModule = embed "src/routes.js"),
    (name = "town/src/schema.js", esModule = embed "src/schema.js"),
    (name = "town/src/shapes.js", esModule = embed "src/shapes.js"),
    (name = "town/src/start_request.js", esModule = embed "src/start_request.js"),
    (name = "town/src/state.js", esModule = embed "src/state.js"),
    (name = "town/src/store.js", esModule = embed "src/store.js"),
    (name = "town/src/town.js", esModule = embed "src/town.js"),
    (name = "town/src/validate.js", esModule = embed "src/validate.js"),
    (name = "town/src/work.js", esModule = embed "src/work.js"),
    (name = "config/prompts/mayor.md", text = embed "../config/prompts/mayor.md"),
    (name = "config/prompts/polecat.md", text = embed "../config/prompts/polecat.md"),
    (name = "config/prompts/refinery.md", text = embed "../config/prompts/refinery.md"),
    (name = "config/prompts/triage.md", text = embed "../config/prompts/triage.md"),
  ],
  bindings = [
    (name = "TOWN", durableObjectNamespace = "Town"),
    (name = "TOWN_SECRET", fromEnvironment = "TOWN_SECRET"),
    (name = "CONTROL_URL_ALLOW", fromEnvironment = "CONTROL_URL_ALLOW"),
    (name = "AGENT_MODEL", fromEnvironment = "AGENT_MODEL"),
    # Tests only; unset everywhere else (src/clock.js).
    (name = "TOWN_TIME_SCALE", fromEnvironment = "TOWN_TIME_SCALE"),
  ],
  durableObjectNamespaces = [(className = "Town", uniqueKey = "townkeeper-town", enableSql = true)],
  durableObjectStorage = (localDisk = "state"),
);
