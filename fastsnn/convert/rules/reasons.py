"""Why an operator has no spiking form, in words that help."""

REASONS = {
    "_native_batch_norm_legit": "batch norm without running statistics depends on the other samples of the batch",
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "recurrent layers are not supported"),
}
