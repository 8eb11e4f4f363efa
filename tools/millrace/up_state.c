/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/dotenv.h"
#include "base/id.h"
#include "tools/millrace/up.h"
#include "json/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { FILE_MAX = 1 << 20 };

void up_path(const struct up *up, const char *name, char out[UP_PATH_MAX])
{
    /* up_state_find() made sure that the folder leaves room for our longest name. */
    int n = snprintf(out, UP_PATH_MAX, "%.400s/%.100s", up->state, name);
    if (n < 0 || n >= UP_PATH_MAX)
        out[0] = '\0';
}

static enum err find_bin(struct up *up, struct errinfo *info)
{
    ssize_t n = readlink("/proc/self/exe", up->bin, sizeof up->bin - 1);
    if (n <= 0 || (size_t)n >= sizeof up->bin - 1)
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot find the folder of this program");
    up->bin[n] = '\0';
    *strrchr(up->bin, '/') = '\0';
    return ERR_OK;
}

static void default_state(char out[UP_PATH_MAX])
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (xdg && xdg[0] == '/')
        snprintf(out, UP_PATH_MAX, "%s/millrace", xdg);
    else
        snprintf(out, UP_PATH_MAX, "%s/.local/state/millrace", home && home[0] == '/' ? home : "/tmp");
}

enum err up_state_find(struct up *up, struct errinfo *info)
{
    const char *tmp = getenv("TMPDIR");
    if (up->cli->ephemeral && !up->cli->state)
        snprintf(up->state, sizeof up->state, "%s/millrace-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
    else if (!up->cli->state)
        default_state(up->state);
    else if (up->cli->state[0] == '/')
        snprintf(up->state, sizeof up->state, "%s", up->cli->state);
    else {
        char here[256];
        if (!getcwd(here, sizeof here))
            return errinfo_set(
                info, ERR_SYSTEM, errno,
                "the working directory has no path, or a long one; name the folder absolutely");
        if (snprintf(up->state, sizeof up->state, "%s/%s", here, up->cli->state) >= UP_PATH_MAX)
            return errinfo_set(info, ERR_RANGE, 0, "the path of the state folder is too long");
    }
    if (strlen(up->state) > 400)
        return errinfo_set(info, ERR_RANGE, 0, "the path of the state folder is longer than 400 bytes");
    return find_bin(up, info);
}

static enum err make_folders(char *path, struct errinfo *info)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        int failed = mkdir(path, 0700) && errno != EEXIST;
        *slash = '/';
        if (failed)
            return errinfo_set(info, ERR_SYSTEM, errno, "cannot make the folder for %.150s", path);
    }
    if (mkdir(path, 0700) && errno != EEXIST)
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot make the folder %.150s", path);
    return ERR_OK;
}

enum err up_file_read(const struct up *up, const char *name, struct buf *out)
{
    char path[UP_PATH_MAX];
    up_path(up, name, path);
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM;
    for (;;) {
        char *room = buf_reserve(out, 4096);
        ssize_t n = room ? read(fd, room, 4096) : -1;
        if (n <= 0)
            return n == 0 ? ERR_OK : ERR_SYSTEM;
        out->len += (size_t)n;
        out->data[out->len] = '\0';
    }
}

/* Whole or not at all: readers never see half of a file. Readable by its owner only. */
enum err up_file_write(const struct up *up, const char *name, struct str text, struct errinfo *info)
{
    char path[UP_PATH_MAX], fresh[UP_PATH_MAX + 8];
    up_path(up, name, path);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    auto_fd fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n || rename(fresh, path))
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot write %.150s", path);
    return ERR_OK;
}

/* A secret that is made once and kept. */
static enum err kept_key(const struct up *up, const char *name, char out[UP_KEY_MAX], struct errinfo *info)
{
    auto_buf text = BUF_INIT(FILE_MAX);
    if (!up_file_read(up, name, &text) && text.len >= 32 && text.len < UP_KEY_MAX) {
        snprintf(out, UP_KEY_MAX, "%s", buf_cstr(&text));
        return ERR_OK;
    }
    struct id a = id_new(), b = id_new();
    snprintf(out, UP_KEY_MAX, "%s%s", a.text, b.text);
    return up_file_write(up, name, str_of(out), info);
}

static enum err api_key(struct up *up, struct errinfo *info)
{
    struct config_key given;
    if (!config_key_at(&up->config, 0, &given))
        return kept_key(up, "generated.key", up->key, info);
    snprintf(up->key, sizeof up->key, STR_FMT, STR_ARG(given.key));
    return ERR_OK;
}

static enum err lock_state(struct up *up, struct errinfo *info)
{
    char path[UP_PATH_MAX], pid[32];
    up_path(up, "lock", path);
    up->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (up->lock_fd < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot open %.150s", path);
    if (flock(up->lock_fd, LOCK_EX | LOCK_NB))
        return errinfo_set(info, ERR_EXISTS, 0, "a system with this state folder is running already");
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(up->lock_fd, 0) || write(up->lock_fd, pid, (size_t)n) != n)
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot write %.150s", path);
    return ERR_OK;
}

pid_t up_state_owner(const struct up *up)
{
    char path[UP_PATH_MAX], pid[32] = "";
    up_path(up, "lock", path);
    auto_fd fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || !flock(fd, LOCK_SH | LOCK_NB) || read(fd, pid, sizeof pid - 1) <= 0)
        return 0;
    int64_t number;
    pid[strcspn(pid, "\n")] = '\0';
    return str_to_i64(str_of(pid), &number) || number <= 1 ? 0 : (pid_t)number;
}

static enum err write_redis_conf(const struct up *up, struct errinfo *info)
{
    auto_buf text = BUF_INIT(FILE_MAX);
    buf_printf(&text,
               "bind 127.0.0.1\nport %d\nprotected-mode yes\nrequirepass %s\ndir %s/redis\ndaemonize "
               "no\nlogfile \"\"\n"
               "appendonly yes\nappendfsync always\nsave \"\"\nmaxmemory 1gb\nmaxmemory-policy noeviction\n",
               up->children[0].port, up->redis_key, up->state);
    return up_file_write(up, "redis.conf", buf_str(&text), info);
}

uint64_t up_state_hash(const struct up *up)
{
    return str_hash(STR_HASH, str_of(up->state));
}

static enum err write_worker_config(struct up *up, struct str text, struct errinfo *info)
{
    if (geteuid() != 0) {
        up_path(up, "millrace.yaml", up->worker_config);
        return ERR_OK;
    }
    char folder[64];
    struct stat st;
    snprintf(folder, sizeof folder, "/run/millrace-up-%016llx", (unsigned long long)up_state_hash(up));
    snprintf(up->worker_config, sizeof up->worker_config, "%s/worker.yaml", folder);
    if ((mkdir(folder, 0711) && errno != EEXIST) || lstat(folder, &st) || !S_ISDIR(st.st_mode) ||
        st.st_uid != 0 || chmod(folder, 0711) || (unlink(up->worker_config) && errno != ENOENT))
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot use %s", folder);
    auto_fd fd = open(up->worker_config, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n || fchown(fd, 0, UP_WORKER_GID) ||
        fchmod(fd, 0640))
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot write %s", up->worker_config);
    return ERR_OK;
}

/* ---- what the programs read ---- */

static bool is_in_dotenv(const struct up *up, const char *name)
{
    const struct config_row *row = config_find(&config_table, str_of(name));
    return row && up->config.base.origins[row - config_table.rows].source == CONFIG_DOTENV;
}

static void copy_setting(void *arg, unsigned line, struct str name, struct str value)
{
    (void)line;
    struct buf *out = arg;
    const struct config_row *row = config_find(&config_table, name);
    if (!row || getenv(row->name))
        return; /* the environment wins */
    buf_printf(out, "%s: ", row->name);
    json_write_string(out, value);
    buf_append_char(out, '\n');
}

/* The programs run elsewhere, and a worker may be somebody who cannot read it: so they get what .env here says. */
static enum err copy_dotenv(struct buf *out, struct errinfo *info)
{
    auto_buf text = BUF_INIT(FILE_MAX);
    auto_fd fd = open(".env", O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;
    char *room = NULL;
    if (fd < 0)
        return ERR_OK; /* config_load() has complained already if it is there and cannot be read */
    while ((room = buf_reserve(&text, 4096)) && (n = read(fd, room, 4096)) > 0)
        text.len += (size_t)n;
    if (!room || n < 0)
        return errinfo_set(info, ERR_IO, 0, "cannot read .env");
    return dotenv_parse(buf_str(&text), copy_setting, out, info);
}

/* What sudo_command() leaves out of the arguments. */
static void copy_secrets(const struct up *up, struct buf *out)
{
    for (size_t i = 0; i < config_table.count; i++) {
        const struct config_row *row = &config_table.rows[i];
        const char *value = getenv(row->name);
        if (row->offset == offsetof(struct config, redis_url) && up->cli->redis_url)
            value = up->cli->redis_url;
        if (!value || !(config_is_secret(row->type) || row->type == CONFIG_URL))
            continue;
        buf_printf(out, "%s: ", row->name);
        json_write_string(out, str_of(value));
        buf_append_char(out, '\n');
    }
}

/* Beneath the environment, so that a person's own settings win. */
static enum err write_config(struct up *up, struct errinfo *info)
{
    auto_buf text = BUF_INIT(FILE_MAX);
    struct config_key given;
    enum err e = copy_dotenv(&text, info);
    if (e)
        return e;
    if (up->sudo)
        copy_secrets(up, &text);
    if (!is_in_dotenv(up, "MILLRACE_PROFILE"))
        buf_append_cstr(&text, "MILLRACE_PROFILE: development\n");
    if (!is_in_dotenv(up, "API_HOST"))
        buf_append_cstr(&text, "API_HOST: 127.0.0.1\n");
    if (!config_key_at(&up->config, 0, &given))
        buf_printf(&text, "API_KEY: \"%s\"\n", up->key);
    if (up->own_redis)
        buf_printf(&text, "REDIS_URL: \"redis://:%s@127.0.0.1:%d\"\n", up->redis_key, up->children[0].port);
    if (up->cli->minio)
        up_minio_settings(up, &text);
    if (up->objects[0] != '\0')
        buf_printf(&text, "OBJECT_STORE_PATH: \"%s\"\n", up->objects);
    e = up_file_write(up, "millrace.yaml", buf_str(&text), info);
    return e ? e : write_worker_config(up, buf_str(&text), info);
}

/* ---- all of it ---- */

enum err up_state_make(struct up *up, struct errinfo *info)
{
    char path[UP_PATH_MAX];
    static const char *const folders[] = {"redis", "log"};
    if (up->cli->ephemeral && !up->cli->state && !mkdtemp(up->state))
        return errinfo_set(info, ERR_SYSTEM, errno, "cannot make a temporary folder");
    enum err e = make_folders(up->state, info);
    e = e ? e : lock_state(up, info);
    for (size_t i = 0; !e && i < sizeof folders / sizeof *folders; i++) {
        up_path(up, folders[i], path);
        e = make_folders(path, info);
    }
    e = e ? e : up_objects_make(up, info);
    e = e ? e : api_key(up, info);
    e = e ? e : kept_key(up, "redis.key", up->redis_key, info);
    if (up->cli->minio) {
        e = e ? e : kept_key(up, "minio.key", up->minio_key, info);
        e = e ? e : up_file_write(up, "minio.user", STR(UP_MINIO_USER), info);
    }
    e = e ? e : up_file_write(up, "api.key", str_of(up->key), info);
    if (up->own_redis)
        e = e ? e : write_redis_conf(up, info);
    return e ? e : write_config(up, info);
}

static json_t *child_json(const struct up_child *child)
{
    char log[UP_PATH_MAX];
    up_child_log_path(child, log);
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:b, s:s}", "part", up_part_name(child->part), "number",
                     child->number, "pid", (int)child->pid, "port", child->port, "restarts",
                     (int)child->restarts, "ready", (int)(child->ready && child->pid), "log", log);
}

void up_state_tell(const struct up *up)
{
    auto_json children = json_array();
    for (size_t i = 0; i < up->count; i++)
        json_array_append_new(children, child_json(&up->children[i]));
    int port = 0;
    for (size_t i = up->count; i-- > 0;)
        port = up->children[i].part == UP_API ? up->children[i].port : port;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    auto_json all =
        json_pack("{s:i, s:s, s:s, s:b, s:s, s:O}", "pid", (int)getpid(), "url", url, "state", up->state,
                  "ready", (int)(up->phase == UP_SERVING), "bin", up->bin, "children", children);
    auto_buf text = BUF_INIT(FILE_MAX);
    struct errinfo info;
    if (json_write(all, &text) || up_file_write(up, "up.json", buf_str(&text), &info))
        return; /* `status` then tells what was before; the system itself runs on */
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void up_state_remove(struct up *up)
{
    if (geteuid() == 0 && up->worker_config[0]) {
        unlink(up->worker_config);
        *strrchr(up->worker_config, '/') = '\0';
        rmdir(up->worker_config);
    }
    up_objects_remove(up);
    if (up->cli->ephemeral)
        nftw(up->state, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

enum err up_free_port(int wanted, int *ret_port)
{
    auto_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wanted)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on))
        return ERR_SYSTEM;
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1) ||
        getsockname(fd, (struct sockaddr *)&at, &length))
        return ERR_EXISTS;
    *ret_port = ntohs(at.sin_port);
    return ERR_OK;
}
