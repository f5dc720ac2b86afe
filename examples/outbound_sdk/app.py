"""A program that calls models through two SDKs; which model answers is decided on the way out."""

import asyncio

import anthropic
import openai

import plano_asgi

CODE = "Write a Python function that implements binary search"
REASONING = "Analyse step by step the trade-offs between microservices and monoliths, and reason about their costs"
CHAT = "Good morning!"


def ask(client: openai.OpenAI, text: str) -> str:
    """Return what the model says, and which one that was."""
    answer = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": text}]
    )
    said = answer.parse().choices[0].message.content
    return f"{answer.headers['x-plano-model']}: {said}"


def stream(client: openai.OpenAI, text: str) -> str:
    """Return what the model says, word by word."""
    chunks = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": text}], stream=True)
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    return "|".join(word for word in words if word)


async def ask_messages(client: anthropic.AsyncAnthropic, text: str) -> str:
    """Return what the model says through Anthropic's SDK."""
    async with client.messages.stream(
        model="auto", max_tokens=100, messages=[{"role": "user", "content": text}]
    ) as events:
        return "".join([word async for word in events.text_stream])


def main() -> None:
    """Make five calls."""
    router = plano_asgi.load_router("plano.yaml")  # one model for all clients
    with plano_asgi.wrap_client(openai.OpenAI(api_key="any"), config="plano.yaml", router=router) as client:
        for text in (CODE, REASONING, CHAT):
            print(ask(client, text))
        print(stream(client, CODE))

    async def with_the_other_sdk() -> None:
        other = anthropic.AsyncAnthropic(api_key="any")
        async with plano_asgi.wrap_client(other, config="plano.yaml", router=router) as client:
            print(await ask_messages(client, CHAT))

    asyncio.run(with_the_other_sdk())
    router.close()


if __name__ == "__main__":
    main()
