# Pillarbox in a container: one static binary, trust roots, and nothing else. docs/containers.md says how to run it.
#
#   docker build -t pillarbox .
#
# Works with the classic builder and with BuildKit. Everything that one release needs is compiled in the first
# stage, the dependencies in a layer of their own, so that a change of the program does not compile them again.

FROM rust:1-bookworm AS build
WORKDIR /build

# The dependencies, behind programs that do nothing in place of all that Cargo.toml names by path.
COPY Cargo.toml Cargo.lock ./
COPY crates/sandbox/Cargo.toml crates/sandbox/
COPY crates/smtp/Cargo.toml crates/smtp/
RUN sed -n 's/^path = "\(.*\.rs\)"$/\1/p' Cargo.toml | while read -r file; do \
        mkdir -p "$(dirname "$file")" && echo 'fn main() {}' > "$file" || exit 1; done \
    && for package in . crates/*; do \
        mkdir -p "$package/src" && echo '//! Nothing.' > "$package/src/lib.rs" || exit 1; done
# +crt-static: the C library is in the binary, which then runs in an image that has none. The explicit target keeps
# the flag away from build scripts and procedural macros, which must load at run time.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN cargo build --profile dist --locked --bin pillarbox --target "$(rustc -vV | sed -n 's/^host: //p')"

# The program. The time stamps of the placeholders are newer than those of the files that replace them.
COPY crates crates
COPY src src
RUN find crates src -name '*.rs' -exec touch {} + \
    && cargo build --profile dist --locked --bin pillarbox --target "$(rustc -vV | sed -n 's/^host: //p')" \
    && cp target/*-linux-gnu/dist/pillarbox . \
    && ./pillarbox --version

# What the image holds. The other names of the binary are hard links: real files for a COPY --from of another
# Dockerfile, but stored once, because they come into the image in one layer.
COPY relay.toml LICENSE LICENSE-APACHE LICENSE-MIT ./
RUN mkdir -p image/usr/bin image/usr/sbin image/etc/ssl/certs image/usr/share/doc/pillarbox \
        image/var/lib/pillarbox image/tmp \
    && mv pillarbox image/usr/bin/pillarbox \
    && ln image/usr/bin/pillarbox image/sendmail \
    && ln image/usr/bin/pillarbox image/usr/sbin/sendmail \
    && ln image/usr/bin/pillarbox image/usr/bin/mailq \
    && ln image/usr/bin/pillarbox image/usr/bin/newaliases \
    && cp /etc/ssl/certs/ca-certificates.crt image/etc/ssl/certs/ \
    && cp relay.toml LICENSE* image/usr/share/doc/pillarbox/ \
    && echo 'hosts: files dns' > image/etc/nsswitch.conf \
    && chmod 1777 image/var/lib/pillarbox image/tmp

FROM scratch
COPY --from=build /build/image /
# Everything that is written lies on the one volume, so the root file system may be read-only. A new volume takes over
# the directory's mode (sticky, as /tmp), so that any user may be chosen; what is made in it is private to that user.
VOLUME /var/lib/pillarbox
ENV PILLARBOX__QUEUE__DIRECTORY=/var/lib/pillarbox/queue \
    PILLARBOX__ADMIN__SOCKET=/var/lib/pillarbox/run/admin.sock \
    PILLARBOX__SENDMAIL__SOCKET=/var/lib/pillarbox/run/submit.sock \
    PILLARBOX__SENDMAIL__DROP_DIRECTORY=/var/lib/pillarbox/drop \
    PILLARBOX__LOG__OUTPUT=stdout
# Mail is taken on 127.0.0.1:25 and [::1]:25 only, the program's default: for containers that share this one's network.
# Who wants more says who may: docs/containers.md.
USER 65532:65532
EXPOSE 25 2525
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["/usr/bin/pillarbox", "health"]
ENTRYPOINT ["/usr/bin/pillarbox"]
CMD ["run"]
