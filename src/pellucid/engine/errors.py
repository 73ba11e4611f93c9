"""Ways in which the engine's processes can't be set up."""

from pellucid.core.errors import PellucidError


class BundleChanged(PellucidError):
    """The model bundle is another one than when the run began."""

    code = "PEL-ENGINE-001"
    remedy = "Start the same command again: it runs under the bundle that is there, as a new answer."


class ModelUnavailable(PellucidError):
    """The function that should make a process's model can't be imported."""

    code = "PEL-ENGINE-002"
    remedy = "Install the package that holds it, or correct its name: `module:function`."


class ModelMisfit(PellucidError):
    """A model takes other tiles, or gives other features, than the shared buffers hold."""

    code = "PEL-ENGINE-003"
    remedy = "This is a fault of Pellucid or of a plug-in: report it with the spec of the encoder."
