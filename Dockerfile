# xrcam_jax in a container:
#   docker build -t xrcam .                                  # for CPUs
#   docker build -t xrcam:cuda --build-arg JAX=cuda12 .      # for NVIDIA GPUs: docker run --gpus all ...
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" xrcam      # the demo; its maps are then in ./xrcam_demo
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" xrcam explain my.jpg --model resnet50 --weights resnet50.safetensors --out explained
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
# jax[cpu] is JAX itself; jax[cuda12] brings CUDA's libraries, so that the machine needs its driver alone.
ARG JAX=cpu
ARG EXTRAS=evaluate,hub,imagenet,train,video,tiff
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[${EXTRAS}]" "jax[${JAX}]" && rm -r /wheels
# What libraries keep for later goes where any user may write.
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["xrcam"]
CMD ["demo"]
