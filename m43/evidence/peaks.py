"""The peaks: the fastest that a device can compute, so that a faster claim is seen to be false."""

# Dense bfloat16 products with float32 sums, FLOP/s, by the device kind that JAX reports.
# Source: the makers' data sheets. GeForce: NVIDIA RTX Blackwell GPU architecture 1.1 and NVIDIA Ada
# GPU architecture 2.1, appendix A (FP16 and BF16 tensor with FP32 accumulate, without sparsity);
# A100, H100, H200, L4 and B200: the products' data sheets, half of the figure with sparsity.
PEAK_FLOPS_PER_S: dict[str, float] = {
    "NVIDIA GeForce RTX 5090": 209.5e12,
    "NVIDIA GeForce RTX 4090": 165.2e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H200": 989.4e12,
    "NVIDIA L4": 121e12,
    "NVIDIA B200": 2250e12,
}

FASTEST_FLOPS_PER_S = 2500e12
"""No single device computes faster today: the bound for one that the table does not know.

It is far above any CPU, so that of a rehearsal only an absurd claim is refused by it.
"""

# A card that boosts above its nominal clock is faster than its data sheet: 3.1 GHz were reported
# where it names 2.4.
CLOCK_MARGIN = 1.3


def most_flops_per_s(device: str) -> float:
    """Give what a device, named as platform:kind, cannot exceed."""
    kind = device.partition(":")[2]
    return CLOCK_MARGIN * PEAK_FLOPS_PER_S.get(kind, FASTEST_FLOPS_PER_S)
