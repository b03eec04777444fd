"""The sections of the tree of settings that are about logins."""

from typing import Annotated

from msgspec import field

from cargohold.config.access import (
    ACTIONS,
    ALGORITHMS,
    GROUPS,
    KEY_URL,
    OPTIONAL_PATH,
    RULES,
    TRUST,
    USERS,
    WORDS,
    Rule,
    TrustedIssuer,
)
from cargohold.config.kinds import BOOLEAN, choice, duration
from cargohold.config.section import YEAR, Section


class TokenService(Section, frozen=True, kw_only=True):
    """The built-in token service, at `/auth/token`."""

    service: Annotated[str, WORDS, "What the service calls itself in challenges and tokens."] = "cargohold"
    lifetime: Annotated[float, duration(60, 86400), "How long a token is valid."] = 300.0
    refresh_lifetime: Annotated[
        float,
        duration(60, YEAR),
        "How long a refresh token, which a client may keep in place of the password, is valid after its last use.",
    ] = 30 * 86400.0
    job_lifetime: Annotated[
        float,
        duration(60, 86400),
        "How long the refresh token is valid that a CI job is given for its id token, which may end sooner.",
    ] = 3600.0


class Bearer(Section, frozen=True, kw_only=True):
    """Tokens of another token service. One of `key`, `jwks` and `jwks_url` switches it on."""

    realm: Annotated[
        str | None,
        KEY_URL,
        "The address of the token service. Clients are sent there, and no longer to our own.",
    ] = None
    service: Annotated[
        str, WORDS, "The audience (`aud`) that tokens must name, and what challenges call it."
    ] = ""
    issuer: Annotated[str, WORDS, "The issuer (`iss`) that tokens must name."] = ""
    key: Annotated[
        str | None,
        OPTIONAL_PATH,
        "A file with the public keys or certificates that tokens are signed with, in PEM.",
    ] = None
    jwks: Annotated[str | None, OPTIONAL_PATH, "A file with the public keys as a JWK set."] = None
    jwks_url: Annotated[
        str | None,
        KEY_URL,
        "Where the token service publishes its keys as a JWK set. It is asked again for a key that is new.",
    ] = None
    algorithms: Annotated[tuple[str, ...], ALGORITHMS, "The signature algorithms that are accepted."] = (
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "EdDSA",
    )
    leeway: Annotated[
        float, duration(0, 300), "How far the clocks of the token service and of the registry may be apart."
    ] = 30.0


class Auth(Section, frozen=True, kw_only=True):
    """Who may do what."""

    htpasswd: Annotated[
        str | None,
        OPTIONAL_PATH,
        "A file of users and their passwords, hashed with bcrypt. `cargohold htpasswd` keeps it; Apache's `htpasswd -B`"
        " writes the same.",
    ] = None
    required: Annotated[
        bool,
        BOOLEAN,
        "Ask for a login also where none of the other settings does. Access tokens are accepted then.",
    ] = False
    open_to_everyone: Annotated[
        bool,
        BOOLEAN,
        "Listen beyond loopback although no login is configured: whoever reaches the port may pull, push and delete.",
    ] = False
    challenge: Annotated[
        str,
        choice("auto", "basic", "bearer"),
        "What clients are told to log in with: `basic`, `bearer` (by the token service), or `auto`, which is `bearer`"
        " where a rule allows anything without a login and `basic` otherwise.",
    ] = "auto"
    remember: Annotated[
        float, duration(0, 3600), "How long a password that was right is not asked of bcrypt again."
    ] = 300.0
    administrators: Annotated[tuple[str, ...], USERS, "Users who may do everything."] = ()
    groups: Annotated[dict[str, tuple[str, ...]], GROUPS, "Groups, and the users in each."] = field(
        default_factory=dict
    )
    rules: Annotated[
        tuple[Rule, ...],
        RULES,
        "Who may do what in which repositories; the first rule that names both the repository and the user decides.",
    ] = ()
    default: Annotated[
        tuple[str, ...] | None,
        ACTIONS,
        "What a signed-in user may do where no rule decides. Without it: everything where there are no rules, and"
        " nothing where there are some.",
    ] = None
    oidc: Annotated[
        tuple[TrustedIssuer, ...],
        TRUST,
        "Issuers of OpenID Connect id tokens, such as those of CI jobs, and what the bearers of which claims may do.",
    ] = ()
    token: TokenService = field(default_factory=TokenService)
    bearer: Bearer = field(default_factory=Bearer)
