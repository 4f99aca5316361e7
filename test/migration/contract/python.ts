/** A Python on a node that answers expressions one after the other: the system calls that Nova, libvirt and QEMU make, in the order in which they make them on two nodes. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import type { Node } from '../../support/cluster.js';
import { onHost } from '../../support/network.js';
import { killChild } from '../../support/processes.js';
import { within } from '../../support/wait.js';
import type { Stage } from '../stage.js';

const ANSWER_MS = 30_000;

/** Names that the expressions may use; an OSError is answered as its errno's name. */
const PROGRAM = `
import ctypes, errno, fcntl, json, mmap, os, struct, sys, tempfile, time
OFD_GETLK, OFD_SETLK = 36, 37
libc = ctypes.CDLL(None, use_errno=True)
def lock(fd, command, kind, start, length):
    asked = struct.pack('hhqqi4x', kind, os.SEEK_SET, start, length, 0)
    return struct.unpack('hhqqi4x', fcntl.fcntl(fd, command, asked))[0]
def aligned(byte, size):
    memory = mmap.mmap(-1, size)
    memory.write(bytes([byte]) * size)
    return memory
def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
known = {}
for line in sys.stdin:
    try:
        answer = eval(line, globals(), known)
        print(json.dumps({'value': answer}), flush=True)
    except OSError as error:
        print(json.dumps({'value': errno.errorcode[error.errno]}), flush=True)
    except Exception as error:
        print(json.dumps({'broken': repr(error)}), flush=True)
`;

export class Python {
  private readonly lines: Interface;

  private constructor(private readonly child: ChildProcess) {
    if (child.stdout === null) throw new Error('python has no output');
    this.lines = createInterface({ input: child.stdout });
  }

  static start(stage: Stage, node: Node): Python {
    const [command = '', ...rest] = onHost(node.network, ['python3', '-u', '-c', PROGRAM]);
    return new Python(spawn(command, rest, { cwd: '/', stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...stage.bed.cluster.environment(node) } }));
  }

  /** The value, or the name of the error number. */
  async ask(expression: string): Promise<unknown> {
    const answer = new Promise<string>((resolve, reject) => {
      this.lines.once('line', resolve);
      this.child.once('exit', () => reject(new Error(`python ended at ${expression}`)));
    });
    this.child.stdin?.write(`${expression.replaceAll('\n', ' ')}\n`);
    const { value, broken } = JSON.parse(await within(`the answer to ${expression}`, ANSWER_MS, answer)) as { value?: unknown; broken?: string };
    this.child.removeAllListeners('exit');
    if (broken !== undefined) throw new Error(`${expression}: ${broken}`);
    return value;
  }

  /** kill -9. */
  kill(): Promise<void> {
    return killChild(this.child);
  }
}
