/** `mount-main.js WORKER-MODULE SOURCE DIRECTORY OPTIONS [--daemon]`: the mount command with a worker of the tests. */
import { runMount } from '../../src/main/mount.js';

const [, , worker = '', source = '', directory = '', options = '', daemon] = process.argv;
process.exitCode = await runMount({
  source,
  directory,
  options,
  daemon: daemon === '--daemon',
  worker,
  say: (line) => console.error(line),
});
