"""A bundle: the folder that holds a model and everything that decides its results.

========================  ==========================================================================
``model.onnx``            inputs ``input_ids`` and ``attention_mask`` (int64, [batch, length]), output
                          ``logits`` (float32, [batch, length, labels])
``tokenizer.json``        BERT word pieces in the ``tokenizers`` library's format
``config.json``           transformers' config, see below
``decoding.json``         optional: transition counts and temperature (``model.decode.Decoding.save``);
                          without it every word takes its likeliest label
``parity.json``           optional: sentences and scores checked at load (``model.parity.write_parity``)
``evaluation.json``       optional, not read here: F1 tables
``MODEL_CARD.md``         optional, not read here
========================  ==========================================================================

Keys of ``config.json`` that are read; others are ignored:

``id2label``
    index (a string) -> label. Index 0 must be ``O``; every index from 0 on must be there.
``vocab_size``, ``max_position_embeddings``
    as transformers writes them.
``case_classes``
    0 or absent: plain piece ids. 4: ids are ``piece + vocab_size * case class`` (``model.case``).
``fewnerd``
    optional object of this project's own settings, each with a default:

    ``name``        what messages call the model; default: the folder's name.
    ``precision``   ``"int8"`` or ``"fp32"`` (default).
    ``categories``  label -> category. Default: the part of the label before its first ``-``.
    ``window``      the longest run of pieces the graph sees at once, [CLS] and [SEP] not counted;
                    default 254, at most ``max_position_embeddings - 2``.
    ``overlap``     pieces that neighbouring windows of a longer text share; default 64, at most half
                    the window.

Weight, temperature and transitions of the decoding are in ``decoding.json``, because 67 x 67 counts would
drown the rest of ``config.json``.
"""
