package owner

import (
	"strings"
	"testing"
)

const (
	id64 = "9be25294016e2dc0340dd605ce1f57b492039b267a6a618a7ad2a7a58a740f32"
	id32 = "4945f2f79aed9c63065c2f3220b52665"
)

const (
	pod      = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice"
	podSlice = "kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice"
)

// cgroupNames are paths of cgroups, and what they say of units and containers.
var cgroupNames = []struct{ path, unit, container, name string }{
	{"", "", "", ""},
	{"/", "", "", ""},
	{"/init.scope", "init.scope", "", ""},
	{"/system.slice/ssh.service", "ssh.service", "", ""},
	{"/../system.slice/ssh.service", "ssh.service", "", ""},
	{"/system.slice/system-postgresql.slice/postgresql@16-main.service", "postgresql@16-main.service", "", ""},
	{"/system.slice/systemd-udevd.service/udev", "systemd-udevd.service", "", ""},
	{"/system.slice/dev-disk-by\\x2duuid-1.swap", "dev-disk-by\\x2duuid-1.swap", "", ""},
	{"/system.slice/_cpu.service", "cpu.service", "", ""},
	{"/system.slice/dbus.socket", "dbus.socket", "", ""},
	{"/system.slice/.service", "system.slice", "", ""},
	{"/system.slice/not a unit.service", "system.slice", "", ""},
	{"/user.slice/user-1000.slice", "user-1000.slice", "", ""},
	{"/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "", ""},
	{"/user.slice/user-1000.slice/user@1000.service/app.slice/web.service", "web.service", "", ""},
	{"/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-4711.scope", "app-gnome-firefox-4711.scope", "", ""},
	{"/user.slice/user-1000.slice/user@1000.service/app.slice/run-r" + id32 + ".scope", "run-r" + id32 + ".scope", "", ""},
	{"/process_api/" + id32, "", "", ""},

	{"/docker/" + id64, "", id64, ""},
	{"/docker/" + id64 + "/docker/" + strings.Repeat("ab", 32), "", strings.Repeat("ab", 32), ""},
	{"/" + id64, "", id64, ""},
	{"/system.slice/docker-" + id64 + ".scope", "docker-" + id64 + ".scope", id64, ""},
	{"/system.slice/docker-" + id64 + ".scope/system.slice/nginx.service", "nginx.service", id64, ""},
	{"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + id64 + ".scope", "docker-" + id64 + ".scope", id64, ""},
	{"/system.slice/docker.service", "docker.service", "", ""},
	{"/actions_job/" + id64, "", id64, ""},
	{"/ecs/55091c13-b8cf-4801-b527-f4601742204d/" + id64, "", id64, ""},

	{"/machine.slice/libpod-" + id64 + ".scope/container", "libpod-" + id64 + ".scope", id64, ""},
	{"/machine.slice/libpod-conmon-" + id64 + ".scope", "libpod-conmon-" + id64 + ".scope", "", ""},
	{"/machine.slice/machine-libpod_pod_" + id64 + ".slice/libpod-" + id64 + ".scope", "libpod-" + id64 + ".scope", id64, ""},
	{"/system.slice/web.service/libpod-payload-" + id64, "web.service", id64, ""},
	{"/libpod_parent/libpod-" + id64, "", id64, ""},
	{"/system.slice/" + id64 + ".service", id64 + ".service", "", ""},

	{pod + "/cri-containerd-" + id64 + ".scope", "cri-containerd-" + id64 + ".scope", id64, ""},
	{pod + "/crio-" + id64 + ".scope", "crio-" + id64 + ".scope", id64, ""},
	{pod + "/crio-" + id64 + ".scope/container", "crio-" + id64 + ".scope", id64, ""},
	{pod + "/crio-conmon-" + id64 + ".scope", "crio-conmon-" + id64 + ".scope", "", ""},
	{pod + "/docker-" + id64 + ".scope", "docker-" + id64 + ".scope", id64, ""},
	{pod + "/cri-containerd-" + id32 + ".scope", "cri-containerd-" + id32 + ".scope", id32, ""},
	{pod + "/" + id64, podSlice, id64, ""},
	{"/kubepods/burstable/pod89f4f2cb511c3b0b7e5272cff5ec37bf/" + id64, "", id64, ""},
	{"/kubepods/besteffort/pod2fc932ce-fdcc-454b-97bd-aadfdeb4c340/" + id32, "", id32, ""},
	{"/kubepods/burstable/pod89f4f2cb511c3b0b7e5272cff5ec37bf", "", "", ""},
	{"/system.slice/containerd.service/kubepods-burstable-pod36b6d6be73b1065af369b3985edafa09.slice:cri-containerd:" + id64,
		"containerd.service", id64, ""},
	{"/k8s.io/" + id64, "", id64, ""},
	{"/system.slice/nerdctl-" + id64 + ".scope", "nerdctl-" + id64 + ".scope", id64, ""},

	{"/lxc.payload.web/system.slice/nginx.service", "nginx.service", "web", "web"},
	{"/lxc.payload.outer/lxc.payload.inner", "", "inner", "inner"},
	{"/lxc.monitor.web", "", "", ""},
	{"/lxc.payload/web", "", "web", "web"},
	{"/lxc/100/ns/init.scope", "init.scope", "100", "100"},
	{"/lxc/web/docker/" + id64, "", id64, ""},
	{"/machine.slice/machine-deb\\x2d12.scope/payload/system.slice/cron.service", "cron.service", "deb-12", "deb-12"},
	{"/machine.slice/machine-deb.scope", "machine-deb.scope", "deb", "deb"},
	{"/machine.slice/machine-deb.scope/supervisor", "machine-deb.scope", "", ""},
	{"/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", "machine-qemu\\x2d1\\x2dvm.scope", "", ""},
	{"/machine.slice/systemd-nspawn@deb.service/payload/init.scope", "init.scope", "deb", "deb"},
	{"/machine.slice/systemd-nspawn@deb.service/supervisor", "systemd-nspawn@deb.service", "", ""},
}

func TestCgroupNames(t *testing.T) {
	for _, test := range cgroupNames {
		if unit := unitOf(test.path); unit != test.unit {
			t.Errorf("%s: unit %q, want %q", test.path, unit, test.unit)
		}
		id, name := containerOf(test.path)
		if id != test.container || name != test.name {
			t.Errorf("%s: container %q named %q, want %q, %q", test.path, id, name, test.container, test.name)
		}
	}
}

// A cgroup's name is its creator's: nothing in it may be made up.
func FuzzCgroup(f *testing.F) {
	f.Add("0::/system.slice/docker-" + id64 + ".scope\n")
	f.Add("2:cpu:/a/b\n1:name=systemd:/machine.slice/machine-a\\x2db.scope/payload\n0::/\n")
	f.Add("0::/lxc/a:b/x (deleted)\n")
	f.Fuzz(func(t *testing.T, file string) {
		path := parseCgroup([]byte(file))
		if path != "" && (path[0] != '/' || !strings.Contains(file, path)) {
			t.Errorf("path %q is not in %q", path, file)
		}
		if unit := unitOf(path); !strings.Contains(path, unit) || strings.Contains(unit, "/") {
			t.Errorf("unit %q of %q", unit, path)
		}
		id, name := containerOf(path)
		if name != "" && name != id || name == "" && !strings.Contains(path, id) {
			t.Errorf("container %q named %q of %q", id, name, path)
		}
	})
}
