/** gluon on the quickstart's mounts, which are brought up when they are not. */
export class GluonSystem {
  constructor(mount) {
    this.mount = mount;
  }

  async up() {
    if (this.mount !== undefined) return this.mount;
    const { quickstartUp } = await import('../../scripts/quickstart.mjs');
    return (await quickstartUp()).mounts[0];
  }

  down() {
    return Promise.resolve();
  }
}
