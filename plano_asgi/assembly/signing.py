"""Settings to what signs calls with AWS credentials."""

from plano_asgi.errors import ConfigurationError, Fault
from plano_asgi.net import HttpRequest
from plano_asgi.net.aws_signing import AwsSigner
from plano_asgi.providers import AwsCredentials, ModelCatalog, ModelProvider
from plano_asgi.upstream import Sign

Account = tuple[str, str, AwsCredentials | None]


def build_sign(catalog: ModelCatalog) -> Sign | None:
    """Return what signs the calls of the providers that want it, None where none does; nothing is looked for yet.

    Raises:
        ConfigurationError: One does, and nothing tells its region.
        MissingExtraError: One does, and botocore is not installed.
    """
    for provider in catalog.providers:
        if provider.is_signed and provider.region is None:
            what = f"is required to sign calls to {provider.model}; add it, e.g. eu-central-1"
            raise ConfigurationError([Fault(where="model_providers[].region", what=what)])
    accounts = {account for provider in catalog.providers if (account := _account(provider))}
    signers = {account: AwsSigner(service=account[0], region=account[1], given=account[2]) for account in accounts}

    def sign(provider: ModelProvider, request: HttpRequest) -> HttpRequest:
        account = _account(provider)
        return signers[account].signed(request) if account else request

    return sign if signers else None


def _account(provider: ModelProvider) -> Account | None:
    service = provider.convention.signed_for
    return (service, provider.region or "", provider.aws) if service and provider.is_signed else None
