import { expect } from "chai";
import type { OciImageConfig } from "#node-agent/images/image-config.ts";
import { containerSpec } from "#node-agent/reconcile/container-spec.ts";
import { taskPaths } from "#node-agent/reconcile/task-files.ts";
import { Task } from "#proto/gen/types.ts";

const image = {
  env: ["PATH=/app/bin", "MODE=image", "KEPT=a=b"],
  entrypoint: ["/entry"],
  cmd: ["serve", "--fast"],
  workdir: "/srv",
  user: "web",
} as unknown as OciImageConfig;
type Container = NonNullable<NonNullable<Parameters<typeof Task.fromPartial>[0]["spec"]>["container"]>;
const make = (
  container: Container = {},
  config = image,
  netns: Parameters<typeof containerSpec>[0]["netns"] = { path: "/n" },
) =>
  containerSpec({
    task: Task.fromPartial({ id: "t1", name: "web.1", spec: { container: { image: "app:1", ...container } } }),
    image: config,
    rootfs: "/root",
    netns,
    hostname: "host",
    paths: taskPaths("/tasks", "t1"),
  });

describe("container of a task", () => {
  for (const [what, container, args] of [
    ["the image's program", {}, ["/entry", "serve", "--fast"]],
    ["own arguments", { args: ["stop"] }, ["/entry", "stop"]],
    ["an own program without the image's arguments", { command: ["sh"] }, ["sh"]],
    ["an own program with own arguments", { command: ["sh"], args: ["-c", "x"] }, ["sh", "-c", "x"]],
  ] as [string, Container, string[]][])
    it(`runs ${what}`, () => expect(make(container).args).to.deep.equal(args));

  it("refuses an image that names no program when the service does neither", () => {
    const empty = { ...image, entrypoint: [], cmd: [] };
    expect(() => make({}, empty)).to.throw(/app:1 names a program/);
    expect(make({ args: ["x"] }, empty).args).to.deep.equal(["x"]);
  });

  it("the service's environment wins over the image's", () => {
    expect(make({ env: { MODE: "own", EMPTY: "" } }).env.toSorted()).to.deep.equal([
      "EMPTY=",
      "KEPT=a=b",
      "MODE=own",
      "PATH=/app/bin",
    ]);
  });

  it("takes folder and user of the service, else of the image", () => {
    expect(make()).to.include({ cwd: "/srv", user: "web" });
    expect(make({ dir: "/x", user: "1:2" })).to.include({ cwd: "/x", user: "1:2" });
    expect(make({}, { ...image, workdir: "", user: "" })).to.include({ cwd: "/", user: "" });
  });

  it("has its own names on every network", () => {
    for (const netns of ["host", { path: "/n" }] as const)
      expect(make({}, image, netns).files.map((f) => f.path)).to.deep.equal([
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
      ]);
  });
});
