"""The small OLMo-2: its shape, its tokenizer, and how a local folder or a hub name becomes a model."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import Olmo2Config, Olmo2ForCausalLM, PreTrainedTokenizerFast

from kfaclib import world as w

SIZES = {  # hidden, ffn, layers
    "olmo2-tiny": (192, 768, 6),
    "olmo2-mini": (128, 512, 4),
}


def make_tokenizer():
    """A word-level tokenizer in the hub's format; it puts `<s>` first, as the training rows do."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(w.VOCABULARY)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", w.BOS)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                   unk_token="<unk>", padding_side="left", model_max_length=256)


def make_model(size="olmo2-tiny", seed=0):
    """A fresh `Olmo2ForCausalLM` of one of SIZES, float32.

    Embeddings start at 0.7 and the gains after each block at 0.4: with the usual 0.02 and 1 the unnormalised
    residual stream of OLMo-2 drowns the token's identity and so small a model learns several times slower.
    """
    hidden, ffn, layers = SIZES[size]
    torch.manual_seed(seed)
    model = Olmo2ForCausalLM(Olmo2Config(
        vocab_size=-(-len(w.VOCABULARY) // 8) * 8, hidden_size=hidden, intermediate_size=ffn, num_hidden_layers=layers,
        num_attention_heads=hidden // 32, num_key_value_heads=hidden // 32, max_position_embeddings=256,
        tie_word_embeddings=False, pad_token_id=w.PAD, bos_token_id=w.BOS, eos_token_id=w.EOS))
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(0, 0.7)
        for block in model.model.layers:
            block.post_attention_layernorm.weight.fill_(0.4)
            block.post_feedforward_layernorm.weight.fill_(0.4)
    return model


def save(model, folder):
    """Write weights (bfloat16 safetensors), configuration and tokenizer so that `from_pretrained(folder)` loads them."""
    model.to(torch.bfloat16).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
