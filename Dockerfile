# Two images from one build: the server and the operator. deploy/release builds,
# tags and pushes both; for this machine alone, and under any name:
#
#   docker build --target server   -t my-quorate .
#   docker build --target operator -t my-quorate-operator .
#
# Without a container registry, or to skip compiling twice, the binaries come
# from outside: BINARIES=prebuilt takes them from prebuilt/ of the context, and
# then any image with a shell serves as RUST_IMAGE. See e2e/images.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
USER 0
ARG BINARIES=build
WORKDIR /src
COPY . .
RUN set -eu; mkdir -p /out/data; case $BINARIES in \
	build) cargo build --release --locked -p zk-server -p zk-operator; from=target/release ;; \
	prebuilt) from=prebuilt ;; \
	esac; \
	cp $from/quorate $from/quorate-operator /out/

FROM ${BASE_IMAGE} AS server
COPY --from=build /out/quorate /usr/bin/quorate
# A new volume of docker takes its owner from the directory it is mounted on.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
EXPOSE 2181 2888 3888 7000 8080
ENTRYPOINT ["/usr/bin/quorate", "pod"]

FROM ${BASE_IMAGE} AS operator
COPY --from=build /out/quorate-operator /usr/bin/quorate-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/bin/quorate-operator", "run"]
