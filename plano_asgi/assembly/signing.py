"""Settings to what signs calls with AWS credentials."""

from plano_asgi.net import HttpRequest
from plano_asgi.net.aws_signing import AwsSigner
from plano_asgi.providers import AwsCredentials, ModelCatalog, ModelProvider
from plano_asgi.upstream import Sign

Account = tuple[str, str, AwsCredentials | None]


def build_sign(catalog: ModelCatalog) -> Sign | None:
    """Return what signs the calls of the providers that want it, None where none does; nothing is looked for yet.

    Raises:
        MissingExtraError: One does, and botocore is not installed.
    """
    accounts = {account for provider in catalog.providers if (account := _account(provider))}
    signers = {account: AwsSigner(service=account[0], region=account[1], given=account[2]) for account in accounts}

    def sign(provider: ModelProvider, request: HttpRequest) -> HttpRequest:
        account = _account(provider)
        return signers[account].signed(request) if account else request

    return sign if signers else None


def _account(provider: ModelProvider) -> Account | None:
    service = provider.convention.signed_for
    return (service, provider.region or "", provider.aws) if service and provider.is_signed else None
