import { execFileSync } from "node:child_process";
import { constants, createReadStream, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { silentLogger } from "#base/log.ts";
import { mountRootfs, unmountRootfs } from "#node-agent/images/rootfs.ts";
import { type ImageStore, openImageStore } from "#node-agent/images/store.ts";
import { MNT_DETACH, mount, umount } from "#node-agent/runtime/mount.ts";
import { makeNode } from "#node-agent/runtime/overlay-whiteout.ts";
import { ensureImages, testImages } from "./images.ts";

describe("test images", function () {
  // The first build downloads packages.
  this.timeout(180_000);
  let root: string;
  let store: ImageStore;
  const box = () => join(root, "box");

  before(async () => {
    root = mkdtempSync(join(tmpdir(), "tswarm-test-images-"));
    store = await openImageStore({ dir: join(root, "images"), logger: silentLogger });
    await ensureImages();
    for (const { archive } of testImages) await store.load(createReadStream(archive));
  });
  after(() => rmSync(root, { recursive: true, force: true }));
  afterEach(() => {
    unmountRootfs({ dir: box() });
    rmSync(box(), { recursive: true, force: true });
  });

  const runIn = (ref: string, command: string): string => {
    mkdirSync(box(), { recursive: true });
    const { merged } = mountRootfs({ image: store.resolve(ref)!, dir: box() });
    const proc = join(merged, "proc");
    mount("proc", proc, "proc", 0, "");
    try {
      makeNode(join(merged, "dev/null"), constants.S_IFCHR | 0o666, 1, 3);
      // Through a pipe, as a runtime gives it: Node's sockets can't be opened by name, which nginx does.
      symlinkSync("/proc/self/fd/1", join(merged, "dev/stdout"));
      symlinkSync("/proc/self/fd/2", join(merged, "dev/stderr"));
      return execFileSync("unshare", ["-n", "chroot", merged, "sh", "-c", `(${command}) 2>&1 | cat`], {
        encoding: "utf8",
        env: { PATH: "/usr/sbin:/usr/bin" },
      });
    } finally {
      umount(proc, MNT_DETACH);
    }
  };

  it("share one base layer", () => {
    const images = testImages.map(({ name }) => store.resolve(name)!);
    expect(new Set(images.map((image) => image.layers[0])).size).to.equal(1);
    expect(store.resolve("localhost/web:1")!.layers[1]).to.equal(store.resolve("localhost/web:2")!.layers[1]);
    expect(store.resolve("localhost/web:1")!.config.stopSignal).to.equal("SIGQUIT");
  });

  const commands: readonly [string, string, RegExp][] = [
    ["localhost/busybox:1", "/bin/busybox true && echo fine", /fine/],
    ["localhost/web:1", "nginx -e stderr -t", /test is successful/],
    ["localhost/web:1", "grep return /etc/nginx/nginx.conf", /\$hostname 1 \$remote_addr/],
    ["localhost/web:2", "grep return /etc/nginx/nginx.conf", /\$hostname 2 \$remote_addr/],
    ["localhost/cache:1", "redis-server --version", /Redis server v=/],
    ["localhost/tools:1", "curl --version", /^curl 7/],
    ["localhost/tools:1", "dig -v", /^DiG 9/],
    ["localhost/tools:1", "iperf3 --version", /^iperf 3/],
    ["localhost/tools:1", "tcpdump --version", /^tcpdump version/],
    ["localhost/tools:1", "ip -V", /^ip utility, iproute2/],
    ["localhost/tools:1", "ping -V", /^ping from iputils/],
  ];
  for (const [ref, command, output] of commands) {
    it(`${ref} runs ${command}`, () => {
      expect(runIn(ref, command)).to.match(output);
    });
  }

  it("localhost/web:2 answers one line over IPv4 and IPv6, logs it, and leaves on SIGQUIT", () => {
    const script = [
      "ip link set lo up",
      'nginx -e stderr -g "daemon off;" & server=$!',
      "for i in $(seq 100); do wget -qO- http://127.0.0.1/ && break; sleep 0.05; done",
      'wget -qO- "http://[::1]/"',
      "kill -QUIT $server; wait $server; echo left with $?",
    ].join("\n");
    const output = runIn("localhost/web:2", script);
    expect(output).to.match(/^\S+ 2 127\.0\.0\.1$/m);
    expect(output).to.match(/^\S+ 2 ::1$/m);
    expect(output).to.match(/"GET \/ HTTP\/1\.\d" 200/);
    expect(output).to.match(/left with 0/);
  });
});
