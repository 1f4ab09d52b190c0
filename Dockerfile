# `tsf serve`, for this machine's processors, or with --build-arg TORCH=cu128 for NVIDIA's GPUs.
FROM python:3.12-slim
ARG TORCH=cpu
# What OpenCV, the third decoder, needs of the system.
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* && useradd --create-home tsf
WORKDIR /app
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/${TORCH}
COPY pyproject.toml README.md LICENSE ./
COPY timesformer_cli timesformer_cli
RUN pip install --no-cache-dir '.[serve]'
USER tsf
EXPOSE 8000
HEALTHCHECK --start-period=2m CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
ENTRYPOINT ["tsf", "serve", "--host", "0.0.0.0", "--token-file", "/run/secrets/tsf-token"]
CMD ["--model", "camera-motion"]
