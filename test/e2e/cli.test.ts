/** bin/gluon as a process, over a gluond that answers what the test wants: pipes, terminals, questions, a daemon that hangs. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import { serviceDefinition } from '../../src/platform/proto.js';
import { run, type RunOptions, type RunResult } from '../support/exec.js';
import { BUILD_ROOT, PACKAGE_ROOT } from '../support/paths.js';

const GLUON = join(PACKAGE_ROOT, 'bin', 'gluon');
const RESULT = { opRet: 0, opErrno: 0, message: '' };
const BRICKS = ['a', 'b', 'c'].map((host) => ({ id: '', host, path: '/b', node: '' }));

type Answer = sendUnaryData<object>;

describe('the gluon command', () => {
  let directory: string;
  let server: Server;
  const called: string[] = [];

  const gluon = (words: string[], options: RunOptions = {}): Promise<RunResult> =>
    run(process.execPath, [GLUON, `--state-dir=${directory}`, ...words], {
      accept: 'any',
      boundMs: 60_000,
      env: { GLUON_BUILD: relative(PACKAGE_ROOT, BUILD_ROOT) },
      ...options,
    });

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'gcli'));
    server = new Server();
    server.addService(serviceDefinition('management.proto', 'gluon.management.v1.Management'), {
      VolumeList: (_call: unknown, done: Answer) =>
        done(null, { result: RESULT, names: Array.from({ length: 20_000 }, (_, index) => `volume-${index}`) }),
      VolumeStop: (call: ServerUnaryCall<{ name: string }, object>, done: Answer) => {
        called.push(call.request.name);
        done(null, { result: RESULT, id: 'ab'.repeat(16) });
      },
      VolumeHealInfo: (_call: unknown, done: Answer) => {
        const progress = {
          state: 'copying',
          keysLeft: 1,
          bytesLeft: 3 << 20,
          bytesDone: 1 << 20,
          secondsLeft: 9,
          paths: [Buffer.from('/disk\x1b[2J.img')],
        };
        const roles = ['PRIMARY', 'IN_SYNC', 'CATCHING_UP'];
        const bricks = BRICKS.map((brick, index) => ({
          brick,
          connected: true,
          role: roles[index],
          progress: index === 2 ? progress : null,
        }));
        done(null, { result: RESULT, name: 'vms', bricks });
      },
      // Never answers.
      PeerList: () => undefined,
    });
    await new Promise<void>((resolve, reject) => {
      const bound = (error: Error | null): void => (error === null ? resolve() : reject(error));
      server.bindAsync(`unix:${join(directory, 'gluond.sock')}`, ServerCredentials.createInsecure(), bound);
    });
  });

  after(async () => {
    server.forceShutdown();
    await rm(directory, { recursive: true, force: true });
  });

  it('writes a long answer whole, and ends quietly when the reader went away', async () => {
    const { stdout, status } = await gluon(['volume', 'list']);
    assert.deepEqual([status, stdout.trim().split('\n').length], [0, 20_000]);
    const piped = await run(
      'bash',
      [
        '-c',
        `"$0" "$1" "$2" volume list | head -1; echo "\${PIPESTATUS[0]}"`,
        process.execPath,
        GLUON,
        `--state-dir=${directory}`,
      ],
      {
        env: { GLUON_BUILD: relative(PACKAGE_ROOT, BUILD_ROOT) },
      },
    );
    assert.deepEqual([piped.stdout, piped.stderr], ['volume-0\n0\n', '']);
  });

  it('asks before it stops a volume, and takes the answer from stdin', async () => {
    called.length = 0;
    for (const input of ['n\n', '', 'no']) {
      const refused = await gluon(['volume', 'stop', 'vms'], { input });
      assert.deepEqual([refused.status, called], [0, []], JSON.stringify(input));
      assert.match(refused.stdout, /\(y\/n\) \n$/);
    }
    const agreed = await gluon(['volume', 'stop', 'vms'], { input: 'y\n' });
    assert.match(agreed.stdout, /volume stop: vms: success\n$/);
    assert.deepEqual([agreed.status, called], [0, ['vms']]);
    const document = await gluon(['--xml', 'volume', 'stop', 'vms'], { input: 'y\n' });
    assert.match(document.stdout, /^<\?xml/, 'the question does not stand in the document');
    assert.match(document.stderr, /\(y\/n\)/);
  });

  it('is a prompt without words, where the answers to questions come from the same input', async () => {
    called.length = 0;
    const session = await gluon([], {
      input: 'volume stop one\nn\nnonsense\nvolume stop two\ny\nquit\nvolume stop three\n',
    });
    assert.deepEqual([session.status, called], [0, ['two']]);
    assert.match(session.stdout, /^gluon> /);
    assert.match(session.stderr, /unrecognized word 'nonsense'/);
  });

  it('draws a progress bar on a terminal only, and never lets a name drive it', async () => {
    const plain = await gluon(['volume', 'heal', 'vms', 'info']);
    assert.match(plain.stdout, /^Left to copy: 3\.0 MiB, about 9 s$/m);
    assert.doesNotMatch(plain.stdout, /Progress/);
    const words = [process.execPath, GLUON, `--state-dir=${directory}`, 'volume', 'heal', 'vms', 'info'];
    const shown = await run('script', ['-qec', words.join(' '), '/dev/null'], {
      env: { GLUON_BUILD: relative(PACKAGE_ROOT, BUILD_ROOT) },
    });
    assert.match(shown.stdout, /Progress: \[#######\.+\] {2}25 %/);
    assert.doesNotMatch(plain.stdout + shown.stdout, /\x1b/);
  });

  it('leaves a gluond that does not answer after --timeout, and one that is not there at once', async () => {
    const begin = performance.now();
    const hung = await gluon(['--timeout=1', 'peer', 'status']);
    assert.equal(hung.status, 1);
    assert.match(hung.stderr, /did not answer 'PeerList' within 1 s \(--timeout\)$/m);
    assert.ok(performance.now() - begin >= 1000);
    const absent = await gluon(['--gluond-sock=/nonexistent/gluond.sock', 'peer', 'status']);
    assert.equal(absent.status, 1);
    assert.match(absent.stderr, /cannot reach gluond at \/nonexistent\/gluond\.sock \(ENOENT\): start it with/);
  });

  it('tells wrong words on stderr with status 1, and help on stdout with status 0', async () => {
    const wrong = await gluon(['volume', 'strat', 'vms']);
    assert.deepEqual([wrong.status, wrong.stdout], [1, '']);
    assert.match(wrong.stderr, /did you mean 'start'\?/);
    for (const words of [['--help'], ['help'], ['volume', 'help'], ['--version']]) {
      const told = await gluon(words);
      assert.deepEqual([told.status, told.stderr], [0, ''], words.join(' '));
    }
  });
});
