import { TswarmError } from "#base/errors.ts";
import type { LoadImageRequest } from "#proto/gen/node.ts";
import type { Cli, Verb } from "#tsctl/cli.ts";
import { withoutOptimisation } from "#tsctl/steady.ts";

/** gRPC messages are whole in memory on both sides: a layer of gigabytes travels in pieces. */
const PIECE = 256 << 10;

async function* requests(cli: Cli, path: string): AsyncGenerator<LoadImageRequest> {
  for await (const chunk of cli.pieces(path))
    for (let at = 0; at < chunk.length; at += PIECE) yield { data: Buffer.from(chunk.subarray(at, at + PIECE)) };
}

export const imageLoad: Verb = (noun, cli) =>
  noun
    .command("load")
    .description("Load images into the node that answers, from a docker archive or an OCI layout as tar")
    .option("-i, --input <file>", 'the archive; gzip and zstd are fine; default "-", standard input', "-")
    .option("-q, --quiet", "say nothing")
    .action(async (options: { input: string; quiet?: true }) => {
      if (options.input === "-" && cli.in.isTTY)
        throw new TswarmError("invalid", "there is no archive: name it with --input FILE, or pipe it in.");
      await withoutOptimisation();
      const { loaded } = await (await cli.local()).loadImage(requests(cli, options.input));
      if (options.quiet) return;
      for (const image of loaded)
        for (const name of image.names.length > 0 ? image.names : [image.digest])
          cli.out.write(`Loaded image: ${name}\n`);
    });
