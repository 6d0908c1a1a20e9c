// From a task and its image to a container: what the user wrote wins over what the image says, as in Docker.

import { refuse } from "#base/errors.ts";
import type { OciImageConfig } from "#node-agent/images/image-config.ts";
import type { TaskPaths } from "#node-agent/reconcile/task-files.ts";
import type { ContainerSpec } from "#node-agent/runtime/runtime.ts";
import type { Task } from "#proto/gen/types.ts";

const environment = (image: OciImageConfig, own: Readonly<Record<string, string>>): string[] => {
  const env = new Map<string, string>();
  for (const line of image.env) {
    const at = line.indexOf("=");
    env.set(line.slice(0, at), line.slice(at + 1));
  }
  for (const [name, value] of Object.entries(own)) env.set(name, value);
  return [...env].map(([name, value]) => `${name}=${value}`);
};

export type ContainerInput = {
  readonly task: Task;
  readonly image: OciImageConfig;
  readonly rootfs: string;
  readonly netns: ContainerSpec["netns"];
  readonly hostname: string;
  readonly paths: TaskPaths;
};

/** Throws `invalid` when neither the service nor the image says what to run. */
export const containerSpec = ({ task, image, rootfs, netns, hostname, paths }: ContainerInput): ContainerSpec => {
  const container = task.spec!.container!;
  const entrypoint = container.command.length > 0 ? container.command : image.entrypoint;
  // An own entrypoint makes the image's default arguments meaningless.
  const command = container.args.length > 0 || container.command.length > 0 ? container.args : image.cmd;
  const args = [...entrypoint, ...command];
  if (args.length === 0)
    throw refuse(
      "invalid",
      "command",
      `neither the service nor the image ${container.image} names a program`,
      "Give one after the image",
    );
  return {
    id: task.id,
    taskName: task.name,
    rootfs,
    netns,
    hostname,
    args,
    env: environment(image, container.env),
    cwd: container.dir || image.workdir || "/",
    user: container.user || image.user,
    tty: container.tty,
    readOnly: container.readOnly,
    init: container.init,
    mounts: container.mounts,
    files: [
      { path: "/etc/hosts", hostPath: paths.hosts },
      { path: "/etc/hostname", hostPath: paths.hostname },
      { path: "/etc/resolv.conf", hostPath: paths.resolvConf },
    ],
    limits: {
      memoryBytes: task.spec!.limits?.memoryBytes ?? 0,
      nanoCpus: task.spec!.limits?.nanoCpus ?? 0,
      pids: task.spec!.limits?.pids ?? 0,
    },
    capAdd: container.capAdd,
    capDrop: container.capDrop,
    sysctls: container.sysctls,
    labels: container.labels,
    logPath: paths.log,
  };
};
