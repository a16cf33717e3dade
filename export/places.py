"""Where a graph may run. What an artifact claims is its target's `runs_on`, and HALF where it computes in float16."""

CPU = "CPU"
NEURAL_ENGINE = "Neural Engine"
LITERT_GPU = "LiteRT's GPU delegate"
HEXAGON = "Hexagon"
ORT_COREML = "ONNX Runtime's Core ML provider"
HALF = "half precision"
