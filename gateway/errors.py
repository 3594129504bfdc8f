"""Every error that the gateway foresees, with its HTTP status and FHIR issue code.

    GatewayError
    ├── BadRequest 400 invalid           a parameter, body or path that cannot be understood
    │   └── NotSupported 400 not-supported  well-formed, and not offered here
    ├── Unauthorized 401 login
    ├── Forbidden 403 forbidden
    │   ├── TooCostly 403 too-costly
    │   └── PartlyHidden 403 forbidden   a part of it may be retrieved, the whole may not
    ├── TooMany 429 throttled            the caller asked for too much in a while
    ├── NotFound 404 not-found           absent, or hidden by policy: the same
    ├── NotAcceptable 406 not-supported
    ├── TooSlow 408 timeout              a request body that does not come
    ├── Gone 410 not-found               a link that was good for a while
    ├── PreconditionFailed 412 conflict
    ├── PayloadTooLarge 413 too-long
    ├── UnsupportedMediaType 415 not-supported
    ├── RangeNotSatisfiable 416 invalid
    ├── ArchiveError 502 exception       one archive failed
    │   ├── ArchiveUnreachable 502 transient
    │   ├── ArchiveBadAnswer 502 exception
    │   ├── ArchiveRefused 502 security  the archive refused the gateway's own credentials
    │   ├── ArchiveTimeout 504 timeout
    │   └── ArchiveBusy 503 throttled
    └── Unavailable 503 transient        nothing trustworthy is known while archives are silent
        ├── NoAnswerInTime 504 timeout   the same, and all of them let their time pass
        └── RefusedByAll 502 security    the same, and all of them refused the gateway's credentials

    ConfigurationError                   never a response: start-up and the command line

`str(error)` is shown to the caller: it names the parameter or the archive's id, never a host, a
path or patient data. The cause goes to the log.
"""

from __future__ import annotations

from dataclasses import dataclass

CALLER_LEFT = 499
"""What is recorded as the status of a request whose caller left before an answer began."""


class GatewayError(Exception):
    """The root: `status` is the HTTP status, `code` the FHIR issue code."""

    status = 500
    code = "exception"
    title = "Internal error"
    retry_after_seconds: int | None = None


class BadRequest(GatewayError):
    """The request cannot be understood. `parameter` names what is wrong with it."""

    status = 400
    code = "invalid"
    title = "Bad request"

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class NotSupported(BadRequest):
    """The request is well-formed and asks for what is not offered here."""

    code = "not-supported"
    title = "Not supported"


class Unauthorized(GatewayError):
    """The caller is not known."""

    status = 401
    code = "login"
    title = "Unauthorized"


class Forbidden(GatewayError):
    """The caller is known and may not."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class TooCostly(Forbidden):
    """The question is too broad to be answered."""

    code = "too-costly"
    title = "Too costly"


class PartlyHidden(Forbidden):
    """A whole of which the caller may see a part only; `permitted`: the UIDs of that part."""

    title = "Not shared as a whole"

    def __init__(self, message: str, *, permitted: tuple[str, ...]) -> None:
        super().__init__(message)
        self.permitted = permitted


class TooMany(GatewayError):
    """The caller asked for more in a while than it may."""

    status = 429
    code = "throttled"
    title = "Too many requests"

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotFound(GatewayError):
    """Absent, or hidden by policy: the two look alike."""

    status = 404
    code = "not-found"
    title = "Not found"


class NotAcceptable(GatewayError):
    """No representation fits what the caller accepts (RFC 9110 §15.5.7)."""

    status = 406
    code = "not-supported"
    title = "Not acceptable"


class TooSlow(GatewayError):
    """The body of a request did not come in time (RFC 9110 §15.5.9)."""

    status = 408
    code = "timeout"
    title = "Request timeout"


class Gone(GatewayError):
    """A link that was good for a while, and no longer is."""

    status = 410
    code = "not-found"
    title = "Gone"


class PreconditionFailed(GatewayError):
    """The resource is another one than the request is meant for (RFC 9110 §15.5.13)."""

    status = 412
    code = "conflict"
    title = "Precondition failed"


class PayloadTooLarge(GatewayError):
    """The request body is larger than the gateway reads."""

    status = 413
    code = "too-long"
    title = "Payload too large"


class UnsupportedMediaType(GatewayError):
    """The request body is of a kind that the gateway does not read."""

    status = 415
    code = "not-supported"
    title = "Unsupported media type"


class RangeNotSatisfiable(GatewayError):
    """The body has none of the bytes asked for; `total` is how many it has, None: not known."""

    status = 416
    code = "invalid"
    title = "Range not satisfiable"

    def __init__(self, message: str, *, total: int | None = None) -> None:
        super().__init__(message)
        self.total = total


class ArchiveError(GatewayError):
    """One archive failed: `archive` is its id, `answered` the HTTP status that it gave, if any."""

    status = 502
    code = "exception"
    title = "Archive failed"

    def __init__(self, message: str, *, archive: str, answered: int | None = None) -> None:
        super().__init__(f"archive {archive}: {message}")
        self.archive = archive
        self.answered = answered


class ArchiveUnreachable(ArchiveError):
    """No connection, or one that broke off."""

    code = "transient"
    title = "Archive unreachable"


class ArchiveBadAnswer(ArchiveError):
    """The archive answered something that is not what was asked for."""

    title = "Archive gave a bad answer"


class ArchiveRefused(ArchiveError):
    """The archive refused the gateway's own credentials."""

    code = "security"
    title = "Archive refused the gateway"


class ArchiveTimeout(ArchiveError):
    """The archive did not answer in time."""

    status = 504
    code = "timeout"
    title = "Archive timed out"


class ArchiveBusy(ArchiveError):
    """The archive's concurrency budget is used up, or it said 429 or 503 itself."""

    status = 503
    code = "throttled"
    title = "Archive busy"
    retry_after_seconds = 5


class Unavailable(GatewayError):
    """Nothing trustworthy is known while `archives` are silent; (): it is not said which."""

    status = 503
    code = "transient"
    title = "Unavailable"
    retry_after_seconds: int | None = 10

    def __init__(self, message: str, *, archives: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.archives = archives


class NoAnswerInTime(Unavailable):
    """The same, and every one of them let its time pass."""

    status = 504
    code = "timeout"
    title = "No answer in time"


class RefusedByAll(Unavailable):
    """The same, and all of them refused the gateway's own credentials: waiting does not help."""

    status = 502
    code = "security"
    title = "Archive refused the gateway"
    retry_after_seconds = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in the configuration: YAML path, position (1-based), what, and the remedy."""

    path: str
    message: str
    remedy: str
    line: int | None = None
    column: int | None = None
    is_warning: bool = False


class ConfigurationError(Exception):
    """The configuration cannot be used; `mistakes` lists all that is wrong with it."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("; ".join(f"{m.path}: {m.message}" for m in mistakes))
        self.mistakes = mistakes
