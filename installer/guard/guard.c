/* coconowork-guard.exe: start the client again when it has died.

   How it works. The client starts this program, whose standard input is a pipe that only the client
   writes to. Before it ends, the client writes one letter: q when it ends in order, and then this
   program ends too; u during an update; d after a defect. When the pipe ends without a letter, the
   client was killed or has crashed. The next client gets the writing end of a new pipe by a handle
   in the environment, and starts no guard of its own.

   During an update the setup program first moves this program's file away; the client notices it and
   ends. The new file is put in place last; until then, no client is started. Then this program starts
   the new client and ends, and the new client starts the new guard.

   docs/windows.md says why it is done so. */
#define _WIN32_WINNT 0x0A00
#include <windows.h>

#define GUARD L"coconowork-guard.exe"
#define CLIENT L"coconowork-client.exe"
#define ARGUMENTS L"\" run --autostart"

enum {
    FIRST_MS = 1000,
    LAST_MS = 15 * 1000,
    LAST_AFTER_DEFECT_MS = 15 * 60 * 1000,
    LASTED_MS = 10 * 60 * 1000, /* a client that lived this long: begin with FIRST_MS again */
    UPDATE_MS = 10 * 60 * 1000, /* the longest that an update may take */
    POLL_MS = 500,
    FOLDER = 32000,
};

static WCHAR folder[FOLDER], path[FOLDER + 64], line[FOLDER + 128];

/* Return the path of a file in the program's folder. */
static WCHAR *in_folder(const WCHAR *name)
{
    lstrcpyW(path, folder);
    return lstrcatW(path, name);
}

/* Return a number of the file GUARD that no other file of the disk has, 0 when there is none. */
static ULONGLONG guard_file(void)
{
    BY_HANDLE_FILE_INFORMATION about = {0};
    HANDLE file = CreateFileW(in_folder(GUARD), 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                              NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) return 0;
    GetFileInformationByHandle(file, &about);
    CloseHandle(file);
    return ((ULONGLONG)about.nFileIndexHigh << 32 | about.nFileIndexLow) + 1;
}

/* Wait until the client has ended. Return its letter, 0 when it has died. */
static char wait_for_end(HANDLE pipe)
{
    char word = 0;
    DWORD count;
    while (word != 'q' && ReadFile(pipe, &word, 1, &count, NULL) && count == 1) continue;
    CloseHandle(pipe);
    return word;
}

/* Start the client, and return its pipe; NULL when it cannot be started, or is not `guarded`. */
static HANDLE start_client(BOOL guarded)
{
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    STARTUPINFOW startup = {sizeof startup};
    PROCESS_INFORMATION process;
    HANDLE reading = NULL, writing = NULL;
    WCHAR number[32];
    BOOL started;

    if (guarded && CreatePipe(&reading, &writing, &inherited, 0)) {
        SetHandleInformation(reading, HANDLE_FLAG_INHERIT, 0);
        wsprintfW(number, L"%I64u", (ULONGLONG)(ULONG_PTR)writing);
    }
    SetEnvironmentVariableW(L"_COCONOWORK_GUARD", writing ? number : NULL);
    lstrcpyW(line, L"\"");
    lstrcatW(lstrcatW(line, in_folder(CLIENT)), ARGUMENTS);
    started = CreateProcessW(path, line, NULL, NULL, writing != NULL, 0, NULL, folder, &startup, &process);
    if (started) {
        CloseHandle(process.hThread);
        CloseHandle(process.hProcess);
    }
    if (writing) CloseHandle(writing);
    if (!started && reading) CloseHandle(reading);
    return started ? reading : NULL;
}

int WINAPI wWinMain(HINSTANCE instance, HINSTANCE previous, LPWSTR arguments, int show)
{
    HANDLE pipe = GetStdHandle(STD_INPUT_HANDLE);
    DWORD pause = FIRST_MS, waited;
    ULONGLONG began = GetTickCount64(), own_file;
    DWORD length = GetModuleFileNameW(NULL, folder, FOLDER);

    (void)instance, (void)previous, (void)arguments, (void)show;
    while (length && folder[length - 1] != L'\\') length--;
    folder[length] = 0;
    own_file = guard_file();
    /* Windows ends this program before the client, when the user signs out. */
    SetProcessShutdownParameters(0x3FF, SHUTDOWN_NORETRY);
    SetHandleInformation(pipe, HANDLE_FLAG_INHERIT, 0);
    SetEnvironmentVariableW(L"PYINSTALLER_RESET_ENVIRONMENT", L"1");
    for (;;) {
        char word = wait_for_end(pipe);
        if (word == 'q') return 0;
        if (GetTickCount64() - began > LASTED_MS) pause = FIRST_MS;
        do {
            Sleep(pause);
            pause *= 2;
            if (pause > LAST_AFTER_DEFECT_MS) pause = LAST_AFTER_DEFECT_MS;
            if (pause > LAST_MS && word != 'd') pause = LAST_MS;
            for (waited = 0; !guard_file() && waited < UPDATE_MS; waited += POLL_MS) Sleep(POLL_MS);
            if (GetSystemMetrics(SM_SHUTTINGDOWN)) return 0;
            if (GetFileAttributesW(in_folder(CLIENT)) == INVALID_FILE_ATTRIBUTES) return 0;
            began = GetTickCount64();
            pipe = start_client(guard_file() == own_file);
            if (guard_file() != own_file) return 0;
        } while (!pipe);
    }
}
