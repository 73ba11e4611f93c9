"""What can be wrong with a slide file."""

from pellucid.core.errors import PellucidError

OVERRIDE = "State the scan's true um/px: the `mpp` column of the cases table, or `--mpp` for bare files."


class FileMissing(PellucidError):
    """There is nothing at the path."""

    code = "PEL-SLIDE-001"
    remedy = "Correct the path, or mount the storage that holds the scan."


class FileForbidden(PellucidError):
    """The file is there, but this account may not read it."""

    code = "PEL-SLIDE-002"
    remedy = "Give the account that runs Pellucid permission to read the file."


class FileIsFolder(PellucidError):
    """The path is a folder or another thing that is no regular file."""

    code = "PEL-SLIDE-003"
    remedy = "Name the slide file itself; for DICOM, one of the instances in the folder."


class FileEmpty(PellucidError):
    """The file has no bytes."""

    code = "PEL-SLIDE-004"
    remedy = "Copy the scan from the scanner again: the transfer wrote nothing."


class FileUnsupported(PellucidError):
    """No reader knows the format."""

    code = "PEL-SLIDE-005"
    remedy = (
        "Export the scan in a format OpenSlide reads (SVS, NDPI, MRXS, SCN, BIF, DICOM, tiled pyramidal TIFF); "
        "a plain image is no slide."
    )


class FileDamaged(PellucidError):
    """The format is known, but the file is truncated or inconsistent."""

    code = "PEL-SLIDE-006"
    remedy = "Copy the scan from the scanner again and compare checksums; if it stays damaged, re-scan the glass."


class DimensionsImplausible(PellucidError):
    """The file claims far more pixels than its bytes can hold."""

    code = "PEL-SLIDE-007"
    remedy = "Don't trust this file: get the scan from its source again, or re-scan the glass."


class RegionUnreadable(PellucidError):
    """A region can't be decoded, even on a freshly opened handle."""

    code = "PEL-SLIDE-008"
    remedy = "Copy the scan from the scanner again; if the region stays unreadable, re-scan the glass."


class ScaleMissing(PellucidError):
    """The file doesn't say how large a pixel is."""

    code = "PEL-SLIDE-009"
    remedy = OVERRIDE


class ScaleAbsurd(PellucidError):
    """A pixel of the claimed size can't be that of a microscope's scan."""

    code = "PEL-SLIDE-010"
    remedy = OVERRIDE


class ScaleContradicted(PellucidError):
    """Two statements about the pixel size contradict each other."""

    code = "PEL-SLIDE-011"
    remedy = "Find out which is true from the scanner, then: " + OVERRIDE


class ScaleTooCoarse(PellucidError):
    """The scan has less detail than the model needs; no override adds detail."""

    code = "PEL-SLIDE-012"
    remedy = "Scan the glass at a higher magnification; an override can't add detail."


class ScaledDecodingUnfit(PellucidError):
    """The encoder wants tiles decoded at half scale, which isn't possible for this scan."""

    code = "PEL-SLIDE-013"
    remedy = (
        "Use a model whose encoder decodes at full resolution, or export the scan as JPEG-tiled TIFF or SVS "
        "at half the encoder's um/px."
    )
