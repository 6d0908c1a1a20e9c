// What the test images hold: Debian packages' programs with the libraries they load, on one shared base.
export type Recipe = {
  readonly name: string;
  /** The layers above the base, by name in `layers`. */
  readonly layers: readonly string[];
  readonly config: Readonly<Record<string, unknown>>;
};

export type LayerRecipe = {
  readonly packages: readonly string[];
  /** Programs to take, with all libraries they load. */
  readonly programs: readonly string[];
  /** Libraries that are loaded by name at run time, which no program's header lists. */
  readonly libraries?: readonly string[];
  readonly files?: Readonly<Record<string, string>>;
  readonly directories?: Readonly<Record<string, number>>;
  readonly symlinks?: Readonly<Record<string, string>>;
};

const NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so";
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Answers `GET /` with one line: the host's name, the version, the client's address; a datagram to port 80 likewise. */
const nginxConf = (version: number): string => `user root;
load_module ${NGINX_STREAM};
worker_processes 1;
worker_shutdown_timeout 5s;
pid /run/nginx.pid;
error_log stderr notice;
events { worker_connections 1024; }
http {
  access_log /dev/stdout;
  default_type text/plain;
  keepalive_timeout 15s;
  server {
    listen 80 default_server backlog=4096;
    listen [::]:80 default_server ipv6only=on backlog=4096;
    location / { return 200 "$hostname ${version} $remote_addr\\n"; }
  }
}
stream {
  server {
    listen 80 udp;
    listen [::]:80 udp ipv6only=on;
    return "$hostname ${version} $remote_addr\\n";
  }
}
`;

export const BASE = "base";

export const layers: Readonly<Record<string, LayerRecipe>> = {
  [BASE]: {
    packages: ["busybox-static", "libc6"],
    programs: ["/usr/bin/busybox"],
    libraries: ["ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libresolv.so.2"],
    symlinks: {
      bin: "usr/bin",
      sbin: "usr/sbin",
      lib: "usr/lib",
      lib64: "usr/lib64",
      "var/run": "/run",
      "etc/mtab": "/proc/mounts",
    },
    directories: { tmp: 0o1777, root: 0o700, dev: 0o755, proc: 0o555, sys: 0o555, run: 0o755, "usr/sbin": 0o755 },
    files: {
      "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
      "etc/group": "root:x:0:\nnogroup:x:65534:\n",
      "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    },
  },
  tools: {
    packages: ["curl", "bind9-dnsutils", "iperf3", "tcpdump", "iproute2", "iputils-ping", "libgcc-s1", "dash", "socat"],
    programs: [
      "/usr/bin/dash",
      "/usr/bin/curl",
      "/usr/bin/dig",
      "/usr/bin/iperf3",
      "/usr/bin/tcpdump",
      "/usr/bin/ping",
      "/usr/bin/ip",
      "/usr/sbin/bridge",
      "/usr/bin/ss",
      "/usr/bin/socat",
    ],
    libraries: ["libgcc_s.so.1"],
    // Debian's busybox shell runs its own ip and ping whatever the path holds.
    symlinks: { "usr/bin/sh": "dash", "usr/sbin/ip": "../bin/ip" },
  },
  nginx: {
    packages: ["nginx", "libnginx-mod-stream"],
    programs: ["/usr/sbin/nginx", NGINX_STREAM],
    directories: { "var/lib/nginx": 0o755, "var/log/nginx": 0o755 },
  },
  "web-1": { packages: [], programs: [], files: { "etc/nginx/nginx.conf": nginxConf(1) } },
  "web-2": { packages: [], programs: [], files: { "etc/nginx/nginx.conf": nginxConf(2) } },
  redis: {
    packages: ["redis-server", "redis-tools", "libgcc-s1"],
    programs: ["/usr/bin/redis-server", "/usr/bin/redis-cli"],
    libraries: ["libgcc_s.so.1"],
    directories: { data: 0o755 },
  },
};

const web = (version: number): Recipe => ({
  name: `localhost/web:${version}`,
  layers: ["nginx", `web-${version}`],
  config: {
    Env: [PATH],
    Cmd: ["/usr/sbin/nginx", "-e", "stderr", "-g", "daemon off;"],
    StopSignal: "SIGQUIT",
    ExposedPorts: { "80/tcp": {}, "80/udp": {} },
  },
});

export const recipes: readonly Recipe[] = [
  { name: "localhost/busybox:1", layers: [], config: { Env: [PATH], Cmd: ["/bin/sh"] } },
  {
    name: "localhost/tools:1",
    layers: ["tools"],
    // The first process of a container ignores signals that it has no handler for.
    config: { Env: [PATH], Cmd: ["/bin/sleep", "2147483647"], StopSignal: "SIGKILL" },
  },
  web(1),
  web(2),
  {
    name: "localhost/cache:1",
    layers: ["redis"],
    config: {
      Env: [PATH],
      Cmd: ["/usr/bin/redis-server", "--bind", "*", "-::*", "--protected-mode", "no", "--save", "", "--dir", "/data"],
      WorkingDir: "/data",
      ExposedPorts: { "6379/tcp": {} },
    },
  },
];
