"""What a GPU could reach: its peak in bf16 products, from the makers' data sheets."""

PEAK_BF16_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.0,
    "GH200": 989.0,
    "H100": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}
"""Dense, with accumulation in fp32, at the power limit the card is sold with."""


def peak_flops(device_name: str) -> float | None:
    """Floating-point operations per second of a device by its name; None when it is unknown."""
    words = f" {device_name.replace('-', ' ')} "
    known = [name for name in PEAK_BF16_TFLOPS if f" {name} " in words]
    return PEAK_BF16_TFLOPS[max(known, key=len)] * 1e12 if known else None
